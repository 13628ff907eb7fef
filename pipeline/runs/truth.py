"""The truth that a run's ranking is held against: random networks inside its budget, each trained to the end."""

import hashlib
from pathlib import Path
from statistics import fmean
from typing import Final

import numpy as np

from pipeline.errors import PipelineError
from pipeline.progress import Progress
from pipeline.runs.alone import Job, trained_network
from pipeline.runs.documents.finetune import Lengths, TrainedNetwork
from pipeline.runs.engine import counted, part_of, require_finished, stage_inputs
from pipeline.runs.images import unchanged
from pipeline.runs.outlook import in_words
from pipeline.runs.plan import run_plan
from pipeline.runs.record import Inputs
from pipeline.runs.reuse import AWARE, FURTHER
from pipeline.runs.run import Run
from pipeline.runs.stages import STAGES
from pipeline.runs.timed import clock, seconds_per_image
from pipeline.search.candidates import keys
from pipeline.search.score_log import Numbers, ScoreLog
from pipeline.spaces.architecture import Architecture

FEWEST: Final = 8  # networks; fewer give intervals as wide as the scale
MOST: Final = 1000


class Truth:
    """Networks drawn from a run's budget and their accuracy on the test split after the training that finalists have.

    The split chooses nothing, and no score that is compared has seen it. Each network that has been trained stays in
    `networks.jsonl` of a folder for these weights and images, so that a larger number later adds to a smaller one.
    """

    def __init__(self, run: Run, count: int) -> None:
        """Nothing is trained yet. Raises RunError where the run's search has not finished, PipelineError for a
        `count` outside 8 to 1000 or a budget with fewer than 8 networks inside."""
        if not FEWEST <= count <= MOST:
            raise PipelineError(f"--truth {count} networks: accepted are {FEWEST} to {MOST} for a run")
        self._run = run
        self.folder = run.path / "truth" / _inputs(run).digest()[:12]
        self._log = ScoreLog(self.folder / "networks.jsonl", "test_accuracy", "seconds")
        self.archs = _drawn(run, count)
        if len(self.archs) < FEWEST:
            raise PipelineError(f"only {len(self.archs)} networks are inside the budget; to rank, {FEWEST} are needed")

    @property
    def missing(self) -> list[Architecture]:
        """The networks that are still to be trained."""
        known = self._log.known()
        return [arch for arch in self.archs if str(arch) not in known]

    def accuracies(self) -> list[float]:
        """The test accuracy of each network, in their order; all must have been trained."""
        known = self._log.known()
        return [known[str(arch)]["test_accuracy"] for arch in self.archs]

    def plan(self) -> str:
        """What the missing ones will take on this machine, for people."""
        taken_over = {trained.arch for _, trained in _trained_by_the_run(self._run)}
        new = sum(str(arch) not in taken_over for arch in self.missing)
        there = f", {len(self.archs) - new} of them there" if new < len(self.archs) else ""
        took = in_words(new * self._seconds_each()) if new else "no time"
        width = 1.96 * _spread_of_tau(len(self.archs))
        return (
            f"{len(self.archs)} random networks inside the budget, trained for {_epochs(self._run):g} epochs each"
            f"{there}: about {took} on this machine. So many tell a Kendall tau to about ±{width:.2f}. Ctrl-C stops at"
            f" any time, and the same command goes on"
        )

    def train(self, progress: Progress) -> None:
        """Train what is missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take_over()
        before, total = len(self.archs) - len(self.missing), len(self.archs)
        batch = min(self._run.config.train.batch_size, len(self._run.dataset.train))
        told = counted(progress, batch, f"train {total} networks")
        for number, arch in enumerate(self.missing, before):
            self._log.add({str(arch): self._trained(arch, part_of(told, number, total, ""))})

    def _trained(self, arch: Architecture, progress: Progress) -> Numbers:
        from pipeline.supernets.evaluate import evaluate

        run, now = self._run, clock(self._run)
        began = now()
        name = hashlib.sha256(str(arch).encode()).hexdigest()[:16]
        checkpoint = self.folder / f"{name}.checkpoint.safetensors"
        network = trained_network(run, Job("random", name, arch), _epochs(run), checkpoint, progress)
        test = unchanged(run.dataset.test, run.dataset)
        found = {"test_accuracy": evaluate(network, test, test.labels).accuracy, "seconds": round(now() - began, 3)}
        checkpoint.unlink(missing_ok=True)
        return found

    def _take_over(self) -> None:
        """What stage `finetune` has trained alike is not trained again."""
        from pipeline.supernets.evaluate import evaluate
        from pipeline.supernets.files import load_network

        run, wanted = self._run, {str(arch) for arch in self.missing}
        test = unchanged(run.dataset.test, run.dataset)
        for weights, trained in _trained_by_the_run(run):
            if trained.arch in wanted:
                accuracy = evaluate(load_network(weights), test, test.labels).accuracy
                self._log.add({trained.arch: {"test_accuracy": accuracy, "seconds": trained.seconds}})

    def _seconds_each(self) -> float:
        """Of training one random network: what others took, else from some steps that are measured now."""
        alike = {path: trained.seconds for path, trained in _trained_by_the_run(self._run)}
        took = [numbers["seconds"] for numbers in self._log.known().values()] + list(alike.values())
        took = [seconds for seconds in took if seconds > 0]
        return fmean(took) if took else run_plan(self._run).images_per_training * seconds_per_image(self._run)


def _inputs(run: Run) -> Inputs:
    """What the truth is of: images, weights, budget and how finalists train; not what a search found."""
    found = stage_inputs(run.folder, require_finished(run.folder, STAGES, "finetune"))
    return found.model_copy(update={"after": {name: made for name, made in found.after.items() if name != "search"}})


def _drawn(run: Run, count: int) -> list[Architecture]:
    """Random networks inside the budget, the first ones the same for every `count`.

    They begin with the run's own baseline: a fair draw too, but that it leaves out the few best of a large space. A
    small space is drawn from in the baseline's order.
    """
    rng = np.random.default_rng([run.config.seed, 7])
    known = [Architecture.parse(trained.arch) for path, trained in _trained_by_the_run(run) if "random" in path.stem]
    first = known if run.feasible.everything is None else []
    rows = run.feasible.random(MOST, rng, frozenset(keys(run.codes.encode(first))) if first else frozenset())
    return [*first, *run.codes.decode(rows)][:count]


def _epochs(run: Run) -> float:
    """For which the run's finalists were trained, or are to be."""
    lengths = run.folder.winner / "lengths.json"
    return Lengths.load(lengths).epochs if lengths.exists() else run.config.finetune.epochs


def _trained_by_the_run(run: Run) -> list[tuple[Path, TrainedNetwork]]:
    """Weights and records of the run's own networks that were trained from inherited weights, for as long."""
    records = sorted((run.folder.winner / "trained").glob("*.json"))
    alike = [path for path in records if path.stem.startswith(("candidate-", "random-"))]
    found = [
        (path.with_suffix(".safetensors"), TrainedNetwork.load(path))
        for path in alike
        if not path.stem.endswith((FURTHER, AWARE)) and path.with_suffix(".safetensors").exists()
    ]
    return [(weights, trained) for weights, trained in found if trained.epochs == _epochs(run)]


def _spread_of_tau(n: int) -> float:
    """The standard deviation of Kendall's tau of `n` networks that are ranked at random, which none exceeds by much."""
    return float((2 * (2 * n + 5) / (9 * n * (n - 1))) ** 0.5)
