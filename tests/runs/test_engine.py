"""Stages run once, continue after a kill, and refuse what changed under them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from latency_tables.files import write_atomic
from pipeline.progress import Progress
from pipeline.runs.begin import create_or_open
from pipeline.runs.config import Config, ConfigError
from pipeline.runs.config_file import config_hash, parse_config
from pipeline.runs.documents.base import RunError
from pipeline.runs.engine import RunStage, require_finished, run_stage
from pipeline.runs.folder import STAGE_NAMES, open_run
from pipeline.runs.run import Run
from pipeline.runs.stages import STAGES


def _config(**tables: object) -> Config:
    return parse_config({"data": {"path": "digits"}, **tables}, "test")


def _silent(done: int, total: int, what: str) -> None:
    pass


class _Counting:
    """Two stages: the second reads what the first wrote. `calls` tells which worked."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fail = False
        self.stages = (
            RunStage("data", ("data",), (), lambda run: [run.path / "one"], self._one),
            RunStage("train", ("train",), ("data",), lambda run: [run.path / "two"], self._two),
        )

    def _one(self, run: Run, progress: Progress) -> None:
        self.calls.append("data")
        (run.path / "one").write_text(f"{len(self.calls)}")

    def _two(self, run: Run, progress: Progress) -> None:
        self.calls.append("train")
        part = run.path / "two" / "part"
        part.parent.mkdir(exist_ok=True)
        part.write_text(part.read_text() + "+" if part.exists() else "begun")
        if self.fail:
            raise KeyboardInterrupt
        (run.path / "two" / "whole").write_text((run.path / "one").read_text())


def _begun(path: Path, **changes: dict[str, object]) -> Run:
    with create_or_open(path, _config(**changes)) as folder:
        return Run(folder)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return _begun(tmp_path / "run")


def test_a_finished_stage_is_not_done_again(run: Run) -> None:
    toy = _Counting()
    for _ in range(2):
        times = [run_stage(run, stage, _silent) for stage in toy.stages]
    assert toy.calls == ["data", "train"]
    assert [time.ran_now for time in times] == [False, False]


def test_what_another_version_says_of_a_finished_stage_is_passed_over(run: Run) -> None:
    toy = _Counting()
    run_stage(run, toy.stages[0], _silent)
    file = run.folder.record_path("data")
    record = json.loads(file.read_text())
    record["inputs"]["weather"] = record["weather"] = {"outside": "rain"}
    file.write_text(json.dumps(record))
    assert not run_stage(run, toy.stages[0], _silent).ran_now and toy.calls == ["data"]


def test_a_stopped_stage_goes_on_with_what_it_left(run: Run) -> None:
    toy = _Counting()
    run_stage(run, toy.stages[0], _silent)
    toy.fail = True
    with pytest.raises(KeyboardInterrupt):
        run_stage(run, toy.stages[1], _silent)
    toy.fail = False
    run_stage(run, toy.stages[1], _silent)
    assert (run.path / "two" / "part").read_text() == "begun+"


def test_what_was_made_from_other_inputs_is_kept_until_it_is_asked_for(run: Run) -> None:
    toy = _Counting()
    for stage in toy.stages:
        run_stage(run, stage, _silent)
    run_stage(run, toy.stages[0], _silent, again=True)
    changed = r"'train' in .* was made from other inputs than are there now: one, written by stage 'data'; it is kept"
    with pytest.raises(RunError, match=changed):
        require_finished(run.folder, (*toy.stages, RunStage("split", (), (), lambda _: [], toy._one)), "split")
    with pytest.raises(RunError, match=rf"{changed} until 'pocketnas stage train .* --again'"):
        run_stage(run, toy.stages[1], _silent)
    assert (run.path / "two" / "whole").read_text() == "1"
    assert run_stage(run, toy.stages[1], _silent, renew=True).ran_now
    assert (run.path / "two" / "part").read_text() == "begun"


def test_a_summary_follows_what_it_tells_of(run: Run) -> None:
    toy = _Counting()
    first, second = toy.stages[0], replace(toy.stages[1], summary=True)
    for stage in (first, second):
        run_stage(run, stage, _silent)
    run_stage(run, first, _silent, again=True)
    assert run_stage(run, second, _silent).ran_now


def test_a_removal_that_was_killed_is_finished(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = _Counting()
    for stage in toy.stages:
        run_stage(run, stage, _silent)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_stage(run, toy.stages[1], _silent, again=True)
    run_stage(run, toy.stages[1], _silent)
    assert (run.path / "two" / "part").read_text() == "begun"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """What version 0.1 left of a run with two finished stages."""
    return Path(shutil.copytree(Path(__file__).parent / "files" / "run-0.1", tmp_path / "old"))


def test_a_run_of_the_first_version_is_continued_and_nothing_is_done_again(old: Path) -> None:
    toy = _Counting()
    with create_or_open(old, _config(seed=3, data={"path": "digits", "flip": False}, train={"epochs": 4})) as folder:
        run, toy = Run(folder), _Counting()
        stages = (replace(toy.stages[0], reads=("data", "space")), replace(toy.stages[1], reads=STAGES[2].reads))
        assert [run_stage(run, stage, _silent).ran_now for stage in stages] == [False, False]
    assert (old / "two" / "weights").read_text() == "trained long ago\n"


def test_a_key_that_is_newer_than_the_run_changes_nothing(run: Run) -> None:
    """As after an upgrade: the run's file and records know one key less than the program."""
    toy = _Counting()
    _forget(run, "train", "batch_size")
    there = Run.open(run.path)
    for stage in toy.stages:
        run_stage(there, stage, _silent)
    with create_or_open(run.path, _config()) as again:
        assert again.config.train.batch_size == 64
        assert not any(run_stage(Run(again), stage, _silent).ran_now for stage in toy.stages)
    with pytest.raises(RunError, match=r"\[train\] batch_size \(was 64, is 8\)"):
        _begun(run.path, train={"batch_size": 8})


def test_a_default_that_changed_since_is_no_change_of_the_run(run: Run) -> None:
    """The run keeps the default that it began with; a key that its author wrote is compared, also when it is gone."""
    run_stage(run, _Counting().stages[0], _silent)
    _forget(run, "train", "epochs", 12)
    assert _begun(run.path).config.train.epochs == 12
    with pytest.raises(RunError, match=r"\[train\] epochs \(was 12, is 4\)"):
        _begun(run.path, train={"epochs": 4})
    other = _begun(run.path.with_name("other"), train={"epochs": 4})
    run_stage(other, _Counting().stages[0], _silent)
    with pytest.raises(RunError, match=r"\[train\] epochs \(was 4, is 30\)"):
        _begun(other.path)


def _forget(run: Run, table: str, key: str, value: object = None) -> None:
    """Take a key out of the run's file, or give it another default, as another version would have written it."""
    document = json.loads((run.path / "run.json").read_text())
    document["config"][table].pop(key, None)
    if value is not None:
        document["config"][table][key] = value
    (run.path / "run.json").write_text(json.dumps(document | {"hash": config_hash(document["config"])}))


def test_what_an_earlier_stage_left_must_be_as_it_was(run: Run) -> None:
    toy = _Counting()
    for stage in toy.stages:
        run_stage(run, stage, _silent)
    (run.path / "one").write_text("edited")
    with pytest.raises(RunError, match=r"one is corrupt or foreign: not what 'data' wrote; 'pocketnas stage data"):
        require_finished(run.folder, toy.stages, "train")


def test_an_earlier_stage_that_has_not_finished_is_named(run: Run) -> None:
    with pytest.raises(RunError, match=r"'train' needs 'data', which has not finished.*pocketnas stage data"):
        require_finished(run.folder, _Counting().stages, "train")


@pytest.mark.parametrize("damage", ["torn", "gone"])
def test_an_output_that_was_damaged_is_named(run: Run, damage: str) -> None:
    toy = _Counting()
    for stage in toy.stages:
        run_stage(run, stage, _silent)
    file = run.path / "two" / "whole"
    file.unlink() if damage == "gone" else file.write_text("to")
    with pytest.raises(RunError, match=r"two/whole.*'pocketnas stage train .* --again'"):
        run_stage(run, toy.stages[1], _silent)


def test_a_changed_configuration_is_refused_by_its_key(run: Run) -> None:
    run_stage(run, _Counting().stages[0], _silent)
    assert _begun(run.path).config == run.config
    with pytest.raises(RunError, match=r"\[train\] epochs \(was 30, is 4\)"):
        _begun(run.path, train={"epochs": 4})


def test_a_mistake_can_be_mended_while_nothing_has_been_made(run: Run) -> None:
    assert _begun(run.path, train={"epochs": 4}).config.train.epochs == 4
    assert open_run(run.path).config.train.epochs == 4


def test_of_two_starts_at_once_the_second_changes_nothing(tmp_path: Path) -> None:
    with create_or_open(tmp_path / "run", _config()) as run:
        with pytest.raises(RunError, match="another pocketnas is at work"):
            _begun(run.path, train={"epochs": 4})
        assert open_run(run.path).config == run.config


def test_of_a_new_run_that_fails_at_once_nothing_is_left(tmp_path: Path) -> None:
    """Whatever it has made by then, so that the same folder can be named again."""
    for there in (tmp_path / "new", tmp_path):
        with pytest.raises(RunError, match="too early"), create_or_open(there, _config()) as run:
            (run.path / "judged.jsonl").write_text("{}")
            (run.path / "stages").mkdir(exist_ok=True)
            raise RunError("too early")
        assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunError, match="holds something that is no run"):
        _begun(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(RunError, match="is no run"):
        open_run(tmp_path)


def test_corrupt_and_edited_run_files_are_refused(run: Run) -> None:
    file = run.path / "run.json"
    text = file.read_text()
    file.write_text(text[:40])
    with pytest.raises(RunError, match=r"run\.json is corrupt or foreign"):
        open_run(run.path)
    file.write_text(text.replace('"epochs": 30', '"epochs": 31'))
    with pytest.raises(RunError, match="was edited"):
        open_run(run.path)


def test_a_corrupt_stage_record_is_named(run: Run) -> None:
    toy = _Counting()
    run_stage(run, toy.stages[0], _silent)
    for torn in ("{", "{}", "[]"):
        run.folder.record_path("data").write_text(torn)
        with pytest.raises(RunError, match=r"data\.json(:| is corrupt)"):
            run_stage(run, toy.stages[0], _silent)


def test_two_processes_do_not_share_a_folder(run: Run) -> None:
    with run.folder.lock(), pytest.raises(RunError, match="another pocketnas is at work"), run.folder.lock():
        pass


def test_the_stages_are_those_that_the_folder_knows() -> None:
    assert tuple(stage.name for stage in STAGES) == STAGE_NAMES


def test_a_new_run_that_fails_before_anything_is_made_leaves_nothing(tmp_path: Path) -> None:
    failing = RunStage("data", ("data",), (), lambda run: [run.data], lambda run, progress: _fail(run))
    for place in (tmp_path / "new", tmp_path / "there"):
        if place.name == "there":
            place.mkdir()
        with pytest.raises(ConfigError), create_or_open(place, _config()) as folder:
            run_stage(Run(folder), failing, _silent)
    assert not (tmp_path / "new").exists() and not list((tmp_path / "there").iterdir())


def _fail(run: Run) -> None:
    (run.folder.data).mkdir()
    (run.folder.data / "half.npy").write_text("")
    raise ConfigError("no such images")


def test_an_interrupted_start_is_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), create_or_open(tmp_path / "run", _config()) as folder:
        (folder.path / "data").mkdir()
        raise KeyboardInterrupt
    assert (tmp_path / "run" / "data").is_dir() and open_run(tmp_path / "run")


def test_a_removed_folder_does_not_come_back_half(run: Run) -> None:
    def removes(run: Run, progress: Progress) -> None:
        shutil.rmtree(run.path)
        progress(1, 2, "train")
        write_atomic(run.path / "two" / "checkpoint", b"half")

    stage = RunStage("data", (), (), lambda _: [], removes)
    with pytest.raises(RunError, match="was removed or moved while this command worked in it"):
        run_stage(run, stage, _silent)
    assert not run.path.exists()


def test_a_lock_that_is_a_link_is_not_followed(run: Run) -> None:
    target = run.path.with_name("precious")
    target.write_text("precious")
    (run.path / ".lock").unlink()
    (run.path / ".lock").symlink_to(target)
    with pytest.raises(RunError, match=r"\.lock is a symbolic link"), run.folder.lock():
        pass
    assert target.read_text() == "precious"


def test_what_killed_writers_left_is_removed(run: Run) -> None:
    (run.path / "exports" / ".export-x1y2").mkdir(parents=True)
    (run.path / "exports" / ".export-x1y2" / "model.onnx").write_text("half")
    (run.path / ".budget.json.a1b2c3d4").write_text("half")
    kept = run.path / "exports" / ".nomedia"
    kept.write_text("")
    with run.folder.lock():
        left = {file.name for file in run.path.rglob("*")}
    assert kept.exists() and not left & {".export-x1y2", "model.onnx", ".budget.json.a1b2c3d4"}


def test_a_storages_address_is_no_part_of_the_run(tmp_path: Path) -> None:
    secret = {"storage": "postgresql://me:s3cret@host/db", "workers": 2, "evaluations": 9}
    first = _begun(tmp_path / "run", search=secret)
    assert first.config.search.storage == secret["storage"]
    assert "s3cret" not in "".join(file.read_text() for file in first.path.rglob("*") if file.is_file())
    run_stage(first, _Counting().stages[0], _silent)
    again = _begun(tmp_path / "run", search={**secret, "storage": "sqlite:///other.db", "workers": 1})
    assert (again.config.search.storage, again.config.search.workers) == ("sqlite:///other.db", 1)
