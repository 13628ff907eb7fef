"""The time of networks that train alone: whatever training takes, the stage ends in time, and all are trained alike."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from latency_tables.blocks import total_macs
from latency_tables.store import load_table
from pipeline.runs.config_file import parse_config
from pipeline.runs.documents.finetune import Lengths, TrainedNetwork
from pipeline.runs.documents.train import Schedule
from pipeline.runs.folder import RunFolder
from pipeline.runs.run import Run
from pipeline.runs.timealone import TimeAlone
from pipeline.spaces.architecture import Architecture

SECONDS = 600.0  # of the whole run
PLANNED = 0.004  # seconds of training on an image


def a_run(folder: Path, images: int, timed_macs: int = 0) -> Run:
    """A run of ten minutes whose steps have been measured, with so many images and nothing else yet."""
    document = {"data": {"path": "digits"}, "space": {"name": "quickstart"}, "train": {"minutes": SECONDS / 60}}
    config = parse_config(document, "test")
    run = Run(RunFolder(folder, config, document))
    parts = {"train": range(images), "search": range(images // 5), "test": range(images // 4)}
    run.__dict__["table"] = load_table("epyc-vm-quickstart")
    run.__dict__["_prepared"] = SimpleNamespace(classes=tuple("0123456789"), **parts)
    measured = {"seconds_per_image": PLANNED, "timed_macs": timed_macs}
    Schedule(train_epochs=1, split_epochs=0, rank_by="score", evaluations=8, private=0, **measured).save(
        run.folder.schedule
    )
    return run


class Simulated:
    """The stage with a clock of its own, on which training takes `slower` times what was planned."""

    def __init__(self, run: Run, slower: float) -> None:
        self.run, self.slower, self.seconds = run, slower, 0.0
        self.time = TimeAlone(run, lambda: self.seconds)
        self.trained: dict[str, TrainedNetwork] = {}
        rng = np.random.default_rng(0)
        self.archs = list(run.codes.decode(run.codes.sample(11, rng)))
        self.typical = float(np.mean([self.macs(arch) for arch in self.archs]))

    def macs(self, arch: Architecture) -> int:
        return total_macs(self.run.space.blocks(arch))

    def train(self, name: str, arch: Architecture, epochs: float) -> None:
        dataset = self.run.dataset
        judged = (min(2000, len(dataset.train)) + len(dataset.search)) / 3
        images = epochs * len(dataset.train) + judged
        seconds = images * PLANNED * self.slower * self.macs(arch) / self.typical
        self.seconds += seconds
        self.trained[name] = TrainedNetwork(arch=str(arch), search_accuracy=0.5, epochs=epochs, seconds=seconds)
        self.trained[name].save(self.run.folder.winner / "trained" / f"{name}.json")

    def stage(self, asked: int = 8) -> tuple[Lengths, int, float]:
        """All of it: the plan, how many random networks were trained, and the further epochs."""
        plan = self.time.first_round(self.archs[:2], self.archs[2:3], asked)
        first = self.archs[: plan.candidates + 1]
        for number, arch in enumerate(first):
            self.train(f"candidate-{number}", arch, plan.epochs)
        randoms = self.archs[3 : 3 + plan.randoms]
        drawn = self.time.affordable(randoms, self.trained)
        for number, arch in enumerate(randoms[:drawn]):
            self.train(f"random-{number}", arch, plan.epochs)
        further = self.time.further_epochs(first[:2], self.trained)
        for number, arch in enumerate(first[:2] if further else []):
            self.train(f"further-{number}", arch, further)
        return plan, drawn, further


@pytest.mark.parametrize("slower", [0.5, 1.0, 1.7, 3.0, 4.0])
@pytest.mark.parametrize("images", [200, 1500, 8000])
def test_the_stage_ends_in_time_whatever_training_takes(tmp_path: Path, images: int, slower: float) -> None:
    simulated = Simulated(a_run(tmp_path, images), slower)
    plan, drawn, further = simulated.stage()
    assert simulated.seconds < SECONDS * (1.0 if slower <= 3 else 1.25)
    assert simulated.seconds > 0.7 * SECONDS or slower > 1.7  # and what is given is used
    assert len({one.epochs for name, one in simulated.trained.items() if "further" not in name}) == 1
    assert drawn in (0, plan.randoms) and further >= 0
    if slower == 4.0 and plan.randoms:
        assert drawn == 0  # those that nobody ships are left out first


def test_large_finalists_leave_time_for_training_the_best_on(tmp_path: Path) -> None:
    """Networks found under a wide limit are larger than the random ones of which one was timed."""
    blind = Simulated(a_run(tmp_path / "blind", 5000), 2.0)
    told, _, further = blind.stage(0)
    known = Simulated(a_run(tmp_path / "known", 5000, timed_macs=round(blind.typical / 2)), 2.0)
    plan, _, more = known.stage(0)
    assert plan.epochs < told.epochs and more > further
    assert 0.7 * SECONDS < known.seconds < SECONDS


def test_a_stage_that_was_killed_goes_on_with_the_same_plan(tmp_path: Path) -> None:
    first = Simulated(a_run(tmp_path, 1500), 1.2)
    told = first.stage()
    again = Simulated(a_run(tmp_path, 1500), 1.2)
    again.trained = dict(first.trained)
    assert again.time.first_round(again.archs[:2], again.archs[2:3], 8).epochs == told[0].epochs
    assert again.time.affordable(again.archs[3:11], again.trained) == told[1]
    assert again.time.further_epochs(again.archs[:2], again.trained) == told[2]


def test_too_little_time_leaves_networks_out(tmp_path: Path) -> None:
    plan, drawn, further = Simulated(a_run(tmp_path, 60_000), 1.0).stage()
    assert (plan.candidates, plan.randoms, drawn) == (1, 0, 0) and plan.epochs > 0
    assert further >= 0
