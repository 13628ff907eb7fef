"""A run whose method relaxes the space: trained from its supernet, queued in its study, continued after a kill."""

import json
from pathlib import Path

import pytest

from pipeline.runs.begin import create_or_open
from pipeline.runs.config_file import parse_config
from pipeline.runs.engine import run_stage
from pipeline.runs.run import Run
from pipeline.runs.stages import STAGES
from pipeline.spaces.architecture import Architecture
from tests.runs.conftest import FinishedRun

_CONFIG = {
    "seed": 3,
    "data": {"path": "digits", "limit": 120, "flip": False},
    "space": {"name": "quickstart", "resolutions": [12, 16]},
    "budget": {"macs": "500k"},
    "train": {"epochs": 1, "batch_size": 32},
    "split": {"epochs": 1},
    "search": {"method": "single-path", "relax_epochs": 3, "evaluations": 4, "images": 64, "private": 2},
    "finetune": {"candidates": 2, "epochs": 1},
}


def test_a_relaxing_method_ends_in_the_study_as_what_is_trained(finished: FinishedRun, tmp_path: Path) -> None:
    config = parse_config({**_CONFIG, "device": {"table": str(finished.path / "table.json")}}, "test")
    kills = iter([True, False])

    def killer(done: int, total: int, what: str) -> None:
        if what.startswith("relax") and done == total // 2 and next(kills):
            raise KeyboardInterrupt

    with create_or_open(tmp_path / "run", config) as folder:
        run = Run(folder)
        for stage in STAGES[:4]:
            run_stage(run, stage, killer)
        with pytest.raises(KeyboardInterrupt):
            run_stage(run, STAGES[4], killer)
        run_stage(run, STAGES[4], killer)
    run = Run.open(tmp_path / "run")
    candidates = json.loads(run.folder.candidates.read_text())
    relaxed = json.loads((run.folder.relaxed / "relaxed.json").read_text())
    own = Architecture.parse(relaxed["archs"][0])
    assert candidates["method"] == "single-path" and candidates["evaluations"] == 4
    assert candidates["candidates"][0]["arch"] == str(own)
    assert candidates["candidates"][0]["trial"] == 0 and candidates["candidates"][0]["private_score"] is not None
    assert {entry["arch"] for entry in candidates["candidates"]} == set(relaxed["archs"])
    assert run.costs.feasible(run.codes.encode([own])).all()


@pytest.mark.parametrize(("judge_by", "pruner"), [("private", "none"), ("scratch", "none"), ("scratch", "hyperband")])
def test_networks_may_be_judged_by_what_they_are_after_training(
    finished: FinishedRun, tmp_path: Path, judge_by: str, pruner: str
) -> None:
    """Three ways to judge, never mixed in one ranking: no inherited score, no ranker, no second private training."""
    search = {
        "judge_by": judge_by,
        "evaluations": 3,
        "images": 64,
        "private_batches": 2,
        "method": "random",
        "pruner": pruner,
    }
    config = parse_config({**_CONFIG, "device": {"table": str(finished.path / "table.json")}, "search": search}, "test")
    with create_or_open(tmp_path / "run", config) as folder:
        run = Run(folder)
        for stage in STAGES[:5]:
            run_stage(run, stage, lambda done, total, what: None)
    found = json.loads(folder.candidates.read_text())
    assert found["ranked_by"] == ("private training" if judge_by == "private" else "training from scratch")
    scores = [entry["score"] for entry in found["candidates"]]
    assert scores == sorted(scores, reverse=True) and len(scores) == 3
    assert all(entry["private_score"] is None for entry in found["candidates"])
    assert not folder.judged.read_text()
    assert all(0 <= score <= 1 for score in scores) if judge_by == "scratch" else all(score < 0 for score in scores)
