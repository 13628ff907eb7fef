"""Events: a line each, whatever was cut before it, and what a real run tells."""

import json
import math
import multiprocessing
from pathlib import Path

import pytest

from pipeline.runs.events import Events
from pipeline.runs.run import Run
from pipeline.supernets.curve import read_curve
from tests.runs.conftest import FinishedRun


def _append(file: Path, writer: int) -> None:
    for number in range(200):
        Events(file).tell("trial", "search", number=number, writer=writer)


def test_a_cut_line_costs_itself_only(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    Events(file).tell("stage_started", "data", continued=False)
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:20])
    Events(file).tell("training", "train", loss=math.nan, accuracy={"largest": math.inf}, arch="é\n")
    assert file.read_bytes().startswith(whole)  # nothing that stood there was changed
    first, second = Events(file).read()
    assert (first.event, second.event) == ("stage_started", "training")
    assert second.facts == {"loss": None, "accuracy": {"largest": None}, "arch": "é\n"}
    assert Events(file).read(since=1) == [second]
    assert len(file.read_bytes().splitlines()) == 3


def test_processes_append_at_the_same_time(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append, args=(file, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    told = [(event.facts["writer"], event.facts["number"]) for event in Events(file).read()]
    assert sorted(told) == [(writer, number) for writer in range(3) for number in range(200)]


def test_a_link_in_the_events_place_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("x")
    (tmp_path / "events.jsonl").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError):
        Events(tmp_path / "events.jsonl").tell("check", "check", passed=True)
    assert (tmp_path / "theirs").read_text() == "x"


def test_what_was_told_of_a_stage_before_it_began_anew_is_void(tmp_path: Path) -> None:
    events = Events(tmp_path / "events.jsonl")
    for continued, number in ((False, 1), (False, 2), (True, 3)):
        events.tell("stage_started", "search", continued=continued)
        events.tell("trial", "search", number=number)
    assert [event.facts.get("number") for event in events.current("search") if event.event == "trial"] == [2, 3]


def test_a_run_tells_everything_that_its_files_say(finished: FinishedRun) -> None:
    run = Run.open(finished.path)
    events = run.events.read()
    ended = {event.stage: event.facts["seconds"] for event in events if event.event == "stage_finished"}
    assert ended == {stage["name"]: pytest.approx(stage["seconds"], abs=1e-3) for stage in finished.printed["stages"]}

    def of(kind: str) -> list[dict[str, object]]:
        return [dict(event.facts) for event in events if event.event == kind]

    trials = {trial["number"]: (trial["arch"], trial["score"]) for trial in of("trial")}
    assert trials == {entry.trial: (entry.arch, entry.score) for entry in run.candidates.candidates}
    assert len(of("trial")) == 14
    trained = run.winner.trained
    assert sorted(e["test_accuracy"] for e in of("tested")) == sorted(e.test_accuracy for e in trained)  # type: ignore[type-var]
    assert sorted(e["search_accuracy"] for e in of("finalist")) == sorted(e.search_accuracy for e in trained)  # type: ignore[type-var]
    assert [winner["arch"] for winner in of("winner")] == [run.winner.arch]
    assert {export["format"] for export in of("export")} == {"onnx", "coreml"}
    assert of("check") == [{"passed": True, "failed": []}] or finished.printed["check"]["checks"]
    for stage, part, file in (
        ("train", "supernet", run.folder.curve),
        ("split", "sub-supernet 1", run.folder.children / "1" / "curve.jsonl"),
    ):
        points = read_curve(file)
        told = [event for event in events if event.stage == stage and event.facts.get("part") == part]
        assert [event.facts["loss"] for event in told] == [point.loss for point in points] and points
        assert set(points[-1].accuracy or {}) == {"largest", "smallest", "random"}


def test_the_cost_was_told_before_and_the_study_in_words(finished: FinishedRun) -> None:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    run = Run.open(finished.path)
    expected = json.loads(run.folder.expected.read_text())["seconds"]
    assert {"train", "split", "search", "finetune"} < set(expected) and all(value >= 0 for value in expected.values())
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(run.folder.study)))
    for trial in optuna.load_study(study_name=None, storage=storage).get_trials():
        named = trial.user_attrs
        spelled = "_".join(
            [f"r{named['resolution']}", *(named[f"stage {n}"] for n in range(1, 4) if f"stage {n}" in named)]
        )
        assert named["network"]["arch"].startswith(spelled)
        assert named["latency_ms"] == named["network"]["costs"]["latency_ms"]
        assert named["macs over its limit"] <= 0
