"""The main job as a user meets it: one command, killed and continued, with files that hold what is printed."""

import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from latency_tables.blocks import total_macs, total_params
from pipeline.ranking.ranked import RankedScorer
from pipeline.ranking.statistics import kendall_tau
from pipeline.runs.documents.report import Summary
from pipeline.runs.report_data import report_data
from pipeline.runs.run import Run
from pipeline.runs.winner import load_winner
from pipeline.spaces.architecture import Architecture
from tests.runs.conftest import FinishedRun, pocketnas, write_config
from tests.waiting import lines_of, until


def test_what_one_worker_judged_no_other_judges_again(finished: FinishedRun, tmp_path: Path) -> None:
    path = Path(shutil.copytree(finished.path, tmp_path / "run"))
    worker, killed = Run.open(path), Run.open(path)
    first, *archs = (worker.space.sample(random.Random(seed)) for seed in (101, 102, 103))
    worker.scorer([first])  # what it has read by then is not all there will be
    scores = killed.scorer(archs)
    judged = worker.folder.judged.read_text()
    assert worker.scorer(archs) == scores and worker.folder.judged.read_text() == judged


def test_the_test_split_has_no_part_in_a_score(finished: FinishedRun, tmp_path: Path) -> None:
    """Networks are judged again with nothing but noise in its place, and get the scores that they had."""
    path = Path(shutil.copytree(finished.path, tmp_path / "run"))
    known = Run.open(path).scorer.judged([Run.open(path).space.max()])
    (path / "judged.jsonl").unlink()
    noise = np.load(path / "data" / "test.npy")
    np.save(path / "data" / "test.npy", np.random.default_rng(0).integers(0, 256, noise.shape, np.uint8))
    np.save(path / "data" / "test_labels.npy", np.roll(np.load(path / "data" / "test_labels.npy"), 1))
    run = Run.open(path)
    assert run.scorer.judged([run.space.max()]) == known


def test_the_printed_document_keeps_the_contract(finished: FinishedRun) -> None:
    printed = finished.printed
    winner = printed["winner"]
    assert set(winner) >= {"arch", "accuracy", "latency_ms", "macs", "params"}
    assert winner["latency_ms"]["predicted"] > 0 and winner["latency_ms"]["measured"] > 0
    assert printed["random_baseline"]["n"] >= 8 and 0 < printed["random_baseline"]["mean_accuracy"] <= 1
    assert [stage["name"] for stage in printed["stages"]] == [
        "data", "profile", "train", "split", "search", "finetune", "export", "check", "report",
    ]  # fmt: skip
    assert printed["check"]["passed"] is True
    assert 0.1 < printed["feasible"]["share"] < 0.6
    for export in printed["exports"]:
        assert export["parity"]["status"] == "passed"
        assert export["parity"]["max_abs_diff"] < 1e-4 and export["parity"]["top1_agreement"] == 1


def test_the_winner_is_inside_its_budget_and_costs_what_is_printed(finished: FinishedRun) -> None:
    run = Run.open(finished.path)
    winner = finished.printed["winner"]
    arch = Architecture.parse(winner["arch"])
    blocks = run.space.blocks(arch)
    assert (winner["macs"], winner["params"]) == (total_macs(blocks), total_params(blocks))
    assert winner["latency_ms"]["predicted"] == pytest.approx(run.table.predict(blocks).latency_ms)
    assert run.costs.feasible(run.codes.encode([arch])).all()
    assert winner["macs"] <= (run.budget.macs or 0)


def test_the_exported_file_is_as_accurate_as_the_winner(finished: FinishedRun) -> None:
    winner = load_winner(Run.open(finished.path))
    session = onnxruntime.InferenceSession(finished.path / "exports" / "model.onnx")
    logits = [session.run(None, {"image": image[None]})[0] for image in winner.test_images]
    right = [int(row.argmax()) == label for row, label in zip(logits, winner.test_labels, strict=True)]
    assert sum(right) / len(right) == pytest.approx(finished.printed["winner"]["accuracy"], abs=1e-9)


def test_regions_cover_the_space_and_the_study_opens_in_optuna(finished: FinishedRun) -> None:
    run = Run.open(finished.path)
    assert sum(region["size"] for region in finished.printed["regions"]) == run.space.size
    assert len(finished.printed["regions"]) == 2
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(run.folder.study)))
    study = optuna.load_study(study_name=None, storage=storage)
    assert len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE])) == 14


def test_the_search_is_ranked_by_what_labels_taught(finished: FinishedRun) -> None:
    run = Run.open(finished.path)
    assert finished.printed["search"]["ranked_by"] == "score, size and ops, with 10 labels"
    tuned = [json.loads(line) for line in run.folder.private.read_text().splitlines()]
    labelled = [Architecture.parse(entry["arch"]) for entry in tuned[:10]]
    judged = run.scorer.networks
    assert labelled == judged[:10] and len(set(judged)) == len(judged) == 120
    assert run.costs.feasible(run.codes.encode(labelled)).all()
    # The best four of the study were tuned too, those that had been labels not again.
    assert 10 <= len(tuned) <= 14 and len({entry["arch"] for entry in tuned}) == len(tuned)
    scorer = run.scorer.regions
    ranker = RankedScorer.learn(scorer.partition, judged, scorer(judged), [entry["score"] for entry in tuned[:10]])
    best = run.candidates.candidates[0]
    arch = Architecture.parse(best.arch)
    assert ranker([arch], scorer([arch])) == pytest.approx([best.score], abs=1e-4)


def test_the_report_tells_how_well_scores_ranked_what_was_trained(finished: FinishedRun) -> None:
    trained = json.loads((finished.path / "winner" / "winner.json").read_text())["trained"]
    assert len(trained) == 10 and all(0 <= entry["test_accuracy"] <= 1 for entry in trained)
    data = report_data(Run.open(finished.path), Summary.load(finished.path / "summary.json"))
    names = {rank.proxy: rank for rank in data.ranks}
    assert set(names) == {"inherited score", "ranker", "MACs", "parameters"}
    assert all(rank.low <= rank.kendall_tau <= rank.high for rank in data.ranks)
    truth = [entry["test_accuracy"] for entry in trained]
    inherited = [entry["scores"]["inherited score"] for entry in trained]
    assert names["inherited score"].kendall_tau == kendall_tau(truth, inherited)
    assert "inherited score" in (finished.path / "report.html").read_text()


def test_the_page_and_junit_are_there(finished: FinishedRun) -> None:
    page = (finished.path / "report.html").read_text()
    assert finished.printed["winner"]["arch"] in page
    assert "<testsuite" in (finished.path / "junit.xml").read_text()


def test_a_finished_run_is_not_done_again(finished: FinishedRun) -> None:
    before = {file: file.stat().st_mtime_ns for file in finished.path.rglob("*") if file.is_file()}
    again = pocketnas("run", finished.config, "--out", finished.path, "--json")
    assert json.loads(again.stdout) == finished.printed
    after = {file: file.stat().st_mtime_ns for file in finished.path.rglob("*") if file.is_file()}
    assert {file.name for file in after if after[file] != before.get(file)} <= {".lock"}


def test_one_stage_alone(finished: FinishedRun, tmp_path: Path) -> None:
    run = shutil.copytree(finished.path, tmp_path / "run")
    done = pocketnas("report", run, "--again", "--json")
    assert json.loads(done.stdout)["ran_now"] is True
    fewer = pocketnas("search", run, "--json")
    assert json.loads(fewer.stdout)["ran_now"] is False


def test_killed_in_the_middle_of_stages_and_continued_it_has_the_same_winner(
    finished: FinishedRun, tmp_path: Path
) -> None:
    """With the same table: a kill inside each stage that takes long, then the same winner as without any."""
    config = write_config(tmp_path, finished.path / "table.json")
    straight = pocketnas("run", config, "--out", tmp_path / "straight", "--json")
    assert straight.returncode == 0, straight.stderr
    command = [sys.executable, "-c", "from pipeline.cli.start import main; main()"]
    command += ["run", str(config), "--out", str(tmp_path / "killed"), "--json"]
    run = tmp_path / "killed"
    for there, what in (
        (lambda: (run / "stages" / "train.json").exists(), "beginning of stage train"),
        (lambda: (run / "children" / "0" / "supernet.safetensors").exists(), "first child"),
        (lambda: lines_of(run / "private.jsonl") >= 3, "third label"),
        (lambda: any((run / "winner" / "trained").glob("*.json")), "first trained network"),
    ):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(there, what, 120)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, other = json.loads(straight.stdout), json.loads(done.stdout)
    assert other["winner"]["arch"] == one["winner"]["arch"]
    assert other["winner"]["accuracy"] == one["winner"]["accuracy"]
    assert other["random_baseline"]["accuracies"] == one["random_baseline"]["accuracies"]


def test_more_formats_of_the_winner_and_their_verification(finished: FinishedRun, tmp_path: Path) -> None:
    run = shutil.copytree(finished.path, tmp_path / "run")
    done = pocketnas("export", run, "--to", "onnx,coreml,ort", "--json")
    assert done.returncode == 0, done.stderr
    reports = json.loads(done.stdout)
    assert [report["format"] for report in reports] == ["onnx", "coreml", "ort"]
    assert all(report["parity"]["status"] == "passed" and Path(report["path"]).exists() for report in reports)
    verified = pocketnas("export", "--verify", run / "exports", "--json")
    assert verified.returncode == 0, verified.stderr


def test_a_search_reads_each_document_once(finished: FinishedRun, tmp_path: Path) -> None:
    """Counted by a profiler in a search of its own: parsing again was most of what a short search did."""
    path = shutil.copytree(finished.path, tmp_path / "run")
    script = (
        "import cProfile, json, pstats, sys\n"
        "from pipeline.cli.app import run_command\n"
        "profile = cProfile.Profile()\n"
        "assert profile.runcall(run_command, ['search', sys.argv[1], '--again']) == 0\n"
        "calls = {}\n"
        "for (_, _, name), (_, count, *_) in pstats.Stats(profile).stats.items():\n"
        "    calls[name] = calls.get(name, 0) + count\n"
        "print(json.dumps(calls))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    calls = json.loads(done.stdout.splitlines()[-1])
    assert calls["load_supernet"] == 2 and calls["parse_table"] == 1 and calls["load_dataset"] == 1
    # The space's own file, the partition's two regions and their union, and one inside each child's weights.
    assert calls["space_from_dict"] == 6
    assert json.loads((path / "candidates.json").read_text())["ranked_by"] == "score, size and ops, with 10 labels"


@pytest.mark.parametrize("file", ["budget.json", "winner/winner.json"])
def test_an_edited_file_of_an_earlier_stage_is_refused(finished: FinishedRun, tmp_path: Path, file: str) -> None:
    path = Path(shutil.copytree(finished.path, tmp_path / "run"))
    text = (path / file).read_text()
    (path / file).write_text(text.replace('"macs": ', '"macs": 1'))
    before = (path / "exports" / "model.onnx").stat().st_mtime_ns
    for command in (["export", path, "--to", "onnx"], ["stage", "export", path], ["report", path]):
        refused = pocketnas(*command)
        assert refused.returncode == 2 and f"{file} is corrupt or foreign: not what" in refused.stderr
    assert (path / "exports" / "model.onnx").stat().st_mtime_ns == before


def test_nothing_of_a_run_without_images_is_left(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[data]\npath = "nowhere/pictures"\n[space]\nname = "quickstart"\n')
    done = pocketnas("run", tmp_path / "c.toml", "--out", tmp_path / "run")
    assert done.returncode == 2 and "nowhere/pictures" in done.stderr
    assert not (tmp_path / "run").exists()
