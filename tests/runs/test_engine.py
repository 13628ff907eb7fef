"""Stages run once, continue after a kill, and refuse what changed under them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.runs.config import Config, config_hash, parse_config
from pipeline.runs.engine import Progress, Stage, require_finished, run_stage
from pipeline.runs.folder import STAGE_NAMES, RunError, RunFolder, create_or_open, open_run
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
            Stage("data", ("data",), (), lambda run: [run.path / "one"], self._one),
            Stage("train", ("train",), ("data",), lambda run: [run.path / "two"], self._two),
        )

    def _one(self, run: RunFolder, progress: Progress) -> None:
        self.calls.append("data")
        (run.path / "one").write_text(f"{len(self.calls)}")

    def _two(self, run: RunFolder, progress: Progress) -> None:
        self.calls.append("train")
        part = run.path / "two" / "part"
        part.parent.mkdir(exist_ok=True)
        part.write_text(part.read_text() + "+" if part.exists() else "begun")
        if self.fail:
            raise KeyboardInterrupt
        (run.path / "two" / "whole").write_text((run.path / "one").read_text())


def _begun(path: Path, **changes: dict[str, object]) -> RunFolder:
    with create_or_open(path, _config(**changes)) as run:
        return run


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return _begun(tmp_path / "run")


def test_a_finished_stage_is_not_done_again(run: RunFolder) -> None:
    toy = _Counting()
    for _ in range(2):
        times = [run_stage(run, stage, _silent) for stage in toy.stages]
    assert toy.calls == ["data", "train"]
    assert [time.ran_now for time in times] == [False, False]


def test_a_stopped_stage_goes_on_with_what_it_left(run: RunFolder) -> None:
    toy = _Counting()
    run_stage(run, toy.stages[0], _silent)
    toy.fail = True
    with pytest.raises(KeyboardInterrupt):
        run_stage(run, toy.stages[1], _silent)
    toy.fail = False
    run_stage(run, toy.stages[1], _silent)
    assert (run.path / "two" / "part").read_text() == "begun+"


def test_what_was_made_from_other_inputs_is_kept_until_it_is_asked_for(run: RunFolder) -> None:
    toy = _Counting()
    for stage in toy.stages:
        run_stage(run, stage, _silent)
    run_stage(run, toy.stages[0], _silent, again=True)
    changed = r"'train' in .* was made from other inputs than are there now: one, written by stage 'data'; it is kept"
    with pytest.raises(RunError, match=changed):
        require_finished(run, (*toy.stages, Stage("split", (), (), lambda _: [], toy._one)), "split")
    with pytest.raises(RunError, match=rf"{changed} until 'pocketnas stage train .* --again'"):
        run_stage(run, toy.stages[1], _silent)
    assert (run.path / "two" / "whole").read_text() == "1"
    assert run_stage(run, toy.stages[1], _silent, renew=True).ran_now
    assert (run.path / "two" / "part").read_text() == "begun"


def test_a_summary_follows_what_it_tells_of(run: RunFolder) -> None:
    toy = _Counting()
    first, second = toy.stages[0], replace(toy.stages[1], summary=True)
    for stage in (first, second):
        run_stage(run, stage, _silent)
    run_stage(run, first, _silent, again=True)
    assert run_stage(run, second, _silent).ran_now


def test_a_removal_that_was_killed_is_finished(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
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
    with create_or_open(old, _config(seed=3, data={"path": "digits", "flip": False}, train={"epochs": 4})) as run:
        stages = (replace(toy.stages[0], reads=("data", "space")), replace(toy.stages[1], reads=STAGES[2].reads))
        assert [run_stage(run, stage, _silent).ran_now for stage in stages] == [False, False]
    assert (old / "two" / "weights").read_text() == "trained long ago\n"


def test_a_key_that_is_newer_than_the_run_changes_nothing(run: RunFolder) -> None:
    """As after an upgrade: the run's file and records know one key less than the program."""
    toy = _Counting()
    _forget(run, "train", "batch_size")
    there = open_run(run.path)
    for stage in toy.stages:
        run_stage(there, stage, _silent)
    with create_or_open(run.path, _config()) as again:
        assert again.config.train.batch_size == 64
        assert not any(run_stage(again, stage, _silent).ran_now for stage in toy.stages)
    with pytest.raises(RunError, match=r"\[train\] batch_size \(was 64, is 8\)"):
        _begun(run.path, train={"batch_size": 8})


def test_a_default_that_changed_since_is_no_change_of_the_run(run: RunFolder) -> None:
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


def _forget(run: RunFolder, table: str, key: str, value: object = None) -> None:
    """Take a key out of the run's file, or give it another default, as another version would have written it."""
    document = json.loads((run.path / "run.json").read_text())
    document["config"][table].pop(key, None)
    if value is not None:
        document["config"][table][key] = value
    (run.path / "run.json").write_text(json.dumps(document | {"hash": config_hash(document["config"])}))


def test_what_an_earlier_stage_left_must_be_as_it_was(run: RunFolder) -> None:
    toy = _Counting()
    for stage in toy.stages:
        run_stage(run, stage, _silent)
    (run.path / "one").write_text("edited")
    with pytest.raises(RunError, match=r"one is torn or foreign: not what 'data' wrote; 'pocketnas stage data"):
        require_finished(run, toy.stages, "train")


def test_an_earlier_stage_that_has_not_finished_is_named(run: RunFolder) -> None:
    with pytest.raises(RunError, match=r"'train' needs 'data', which has not finished.*pocketnas stage data"):
        require_finished(run, _Counting().stages, "train")


@pytest.mark.parametrize("damage", ["torn", "gone"])
def test_an_output_that_was_damaged_is_named(run: RunFolder, damage: str) -> None:
    toy = _Counting()
    for stage in toy.stages:
        run_stage(run, stage, _silent)
    file = run.path / "two" / "whole"
    file.unlink() if damage == "gone" else file.write_text("to")
    with pytest.raises(RunError, match=r"two/whole.*'pocketnas stage train .* --again'"):
        run_stage(run, toy.stages[1], _silent)


def test_a_changed_configuration_is_refused_by_its_key(run: RunFolder) -> None:
    run_stage(run, _Counting().stages[0], _silent)
    assert _begun(run.path).config == run.config
    with pytest.raises(RunError, match=r"\[train\] epochs \(was 30, is 4\)"):
        _begun(run.path, train={"epochs": 4})


def test_a_mistake_can_be_mended_while_nothing_has_been_made(run: RunFolder) -> None:
    assert _begun(run.path, train={"epochs": 4}).config.train.epochs == 4
    assert open_run(run.path).config.train.epochs == 4


def test_of_two_starts_at_once_the_second_changes_nothing(tmp_path: Path) -> None:
    with create_or_open(tmp_path / "run", _config()) as run:
        with pytest.raises(RunError, match="another pocketnas is at work"):
            _begun(run.path, train={"epochs": 4})
        assert open_run(run.path).config == run.config


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunError, match="holds something that is no run"):
        _begun(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(RunError, match="is no run"):
        open_run(tmp_path)


def test_torn_and_edited_run_files_are_refused(run: RunFolder) -> None:
    file = run.path / "run.json"
    text = file.read_text()
    file.write_text(text[:40])
    with pytest.raises(RunError, match=r"run\.json is torn or foreign"):
        open_run(run.path)
    file.write_text(text.replace('"epochs": 30', '"epochs": 31'))
    with pytest.raises(RunError, match="was edited"):
        open_run(run.path)


def test_a_torn_stage_record_is_named(run: RunFolder) -> None:
    toy = _Counting()
    run_stage(run, toy.stages[0], _silent)
    for torn in ("{", "{}", "[]"):
        run.record_path("data").write_text(torn)
        with pytest.raises(RunError, match=r"data\.json is torn"):
            run_stage(run, toy.stages[0], _silent)


def test_two_processes_do_not_share_a_folder(run: RunFolder) -> None:
    with run.lock(), pytest.raises(RunError, match="another pocketnas is at work"), run.lock():
        pass


def test_the_stages_are_those_that_the_folder_knows() -> None:
    assert tuple(stage.name for stage in STAGES) == STAGE_NAMES
