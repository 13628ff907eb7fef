"""Judging architectures of a run: inherited weights, private fine-tunes, and the ranker that learns from these."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.progress import Progress
from pipeline.ranking.ranker import FEWEST_LABELS
from pipeline.runs.documents.split import CalibrationFile
from pipeline.runs.team import SharedWork
from pipeline.runs.timed import scheduled
from pipeline.search.score_log import Numbers, ScoreLog
from pipeline.spaces.architecture import Architecture

if TYPE_CHECKING:
    from pipeline.ranking.prior import Weights
    from pipeline.ranking.ranked import RankedScorer
    from pipeline.ranking.ridge import Floats
    from pipeline.ranking.scores import RegionScorer
    from pipeline.runs.run import Run
    from pipeline.search.evaluators import Evaluator, Remembered
    from pipeline.supernets.supernet import Supernet

JUDGED_FOR_RANKER: Final = 120  # so that each option's mean score is one of dozens of networks


class RunScorer:
    """What a run ranks networks by, higher is better. Nothing is judged before it is asked for.

    Inherited scores are minus the calibrated cross-entropy (nats) with the weights of a network's region, kept in
    `judged.jsonl`; private ones the same after a short fine-tune, kept in `private.jsonl`. After `learn`, by
    `[search] rank_by`, networks are ranked by what a ranker makes of them.
    """

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._log = ScoreLog(run.folder.judged, "accuracy", "cross_entropy")
        self._ranker: RankedScorer | None = None

    @property
    def uncalibrated(self) -> "RegionScorer":
        """Scores by the trained sub-supernets."""
        from pipeline.ranking.scores import RegionScorer

        return RegionScorer(self._run.partition, self._run.children, self._run.judging)

    @cached_property
    def regions(self) -> "RegionScorer":
        """The same, calibrated between regions where the split stage did that."""
        from pipeline.ranking.calibration import RegionCalibration

        file = self._run.folder.children / "calibration.json"
        if not file.exists():
            return self.uncalibrated
        read = CalibrationFile.load(file)
        return replace(self.uncalibrated, calibration=RegionCalibration(read.scale, tuple(read.shifts)))

    @cached_property
    def private(self) -> "Remembered":
        """Minus the cross-entropy (nats) after a private fine-tune; none is done twice."""
        from pipeline.ranking.private_tuning import PrivateTuning
        from pipeline.search.evaluators import Remembered, fine_tuned

        run, config = self._run, self._run.config
        tuning = PrivateTuning(config.search.private_batches, config.train.batch_size, seed=config.seed)

        def supernet_of(arch: Architecture) -> "Supernet":
            return run.children[run.partition.route(arch)]

        return Remembered(fine_tuned(supernet_of, run.training_data, run.judging, tuning), run.folder.private)

    @cached_property
    def evaluator(self) -> "Evaluator":
        """What `[search] judge_by` asks for, in one scale for all networks."""
        from pipeline.search.evaluators import Scored

        match self._run.config.search.judge_by:
            case "private":
                return self.private
            case "scratch":
                return self._scratch
        fidelity = "ranker" if scheduled(self._run).rank_by == "ranker" else "inherited"
        return Scored(fidelity, self.learn())

    @property
    def _scratch(self) -> "Evaluator":
        """Search accuracy of each network trained alone from random weights, as the winner will be in length."""
        from pipeline.search.evaluators import from_scratch
        from pipeline.supernets.settings import TrainSettings

        run, config = self._run, self._run.config
        settings = TrainSettings(
            recipe="alone",
            epochs=config.finetune.epochs,
            batch_size=config.train.batch_size,
            lr=config.train.learning_rate,
            seed=config.seed,
        )
        return from_scratch(run.space, run.training_data, run.judging, settings, run.folder.scratch)

    @cached_property
    def networks(self) -> list[Architecture]:
        """Random networks inside the budget that the ranker learns from, the first `[search] labels` by label.

        None where no ranker is asked for, or too few networks are inside the budget to learn from.
        """
        config, run = self._run.config, self._run
        wanted = config.search.judge_by == "inherited" and config.search.only is None
        if scheduled(run).rank_by != "ranker" or not wanted:
            return []
        rng = np.random.default_rng([config.seed, 11])
        rows = run.feasible.random(max(config.search.labels, JUDGED_FOR_RANKER), rng)
        return list(run.codes.decode(rows)) if len(rows) >= FEWEST_LABELS else []

    @property
    def ranked_by(self) -> str:
        """What orders the networks, for people."""
        if (judge_by := self._run.config.search.judge_by) != "inherited":
            return "private training" if judge_by == "private" else "training from scratch"
        if self._ranker is None:
            return "inherited score"
        if self._ranker.ranker is None:
            return "score, size and ops"
        return f"score, size and ops, with {len(self._ranker.ranker.ridge.leave_one_out)} labels"

    @property
    def weights(self) -> "Weights":
        """How much the ranker believes each of its parts."""
        score, smoothed, size = self._run.config.search.rank_weights
        return score, smoothed, size

    def learn(self, progress: Progress | None = None) -> "RunScorer":
        """Judge and label what the ranker learns from, where that has not been done, and fit it; returns itself."""
        from pipeline.ranking.ranked import RankedScorer

        if self._ranker is not None or not (archs := self.networks):
            return self
        self._judge(archs, progress or _silent)
        scores = self.inherited(archs)
        labels = self.privately(archs[: self._run.config.search.labels], progress or _silent, "label networks")
        self._ranker = RankedScorer.learn(self._run.partition, archs, scores, labels, self.weights)
        return self

    def privately(self, archs: Sequence[Architecture], progress: Progress, what: str) -> list[float]:
        """Each one's private score, in their order; all processes of the run take part in what is new."""
        new, private = self.private.unknown(archs), self.private
        done = len(archs) - len(new)

        def keep(entry: Mapping[str, Numbers]) -> None:
            nonlocal done
            private.keep(entry)
            done += 1
            progress(done, len(archs), what)

        if new:
            self._run.team.do(PRIVATE, self._run, [str(arch) for arch in new], _silent, keep)
        return private.evaluate(archs)

    def _judge(self, archs: Sequence[Architecture], progress: Progress) -> None:
        """Leave the inherited numbers of `archs` in the log; all processes of the run take part in what is new."""
        known = self._log.known()
        new = sorted({str(arch) for arch in archs} - set(known))  # neighbours share beginnings
        if new:
            self._run.team.do(JUDGING, self._run, new, progress, self._log.add)

    def __call__(self, archs: Sequence[Architecture]) -> list[float]:
        """One score per network, kept on the disk."""
        scores = self.inherited(archs)
        return self.ranked(archs, scores) or scores

    def ranked(self, archs: Sequence[Architecture], inherited: Sequence[float]) -> list[float] | None:
        """What the ranker makes of the inherited scores of `archs`; None where the run has no ranker."""
        return None if self._ranker is None else self._ranker(archs, inherited)

    def parts(self, archs: Sequence[Architecture], inherited: Sequence[float]) -> "Floats | None":
        """What a ranker without labels weighs, in standard deviations, shape (n, 3); None where the run has none."""
        if self._ranker is None or self._ranker.ranker is not None:
            return None
        where = [self._run.partition.route(arch) for arch in archs]
        return self._ranker.prior.standardised(archs, inherited, where)

    def inherited(
        self, archs: Sequence[Architecture], progress: Progress | None = None, keep: bool = True
    ) -> list[float]:
        """One inherited score per network; those judged together share beginnings. `keep` writes them down."""
        # Another worker may have judged them, even one that was killed before it told the study.
        known = self._log.known()
        new = [arch for arch in dict.fromkeys(archs) if str(arch) not in known]
        judged = self.judged(new, progress)
        if keep and judged:
            self._log.add(judged)
        numbers = {**known, **judged}
        return self.regions.calibrated([-numbers[str(arch)]["cross_entropy"] for arch in archs], archs)

    def judged(self, archs: Sequence[Architecture], progress: Progress | None = None) -> dict[str, Numbers]:
        """What inherited weights reach with each network, judged now and not kept."""
        found = zip(archs, self.regions.judged(archs, progress), strict=True)
        return {str(arch): {"accuracy": score.accuracy, "cross_entropy": score.cross_entropy} for arch, score in found}

    def proxies(self, archs: Sequence[Architecture]) -> list[dict[str, float]]:
        """What is known of each network without training it to the end, by name; higher should be better."""
        inherited = self.inherited(archs, keep=False)
        proxies = [{"inherited score": score} for score in inherited]
        for known, value in zip(proxies, self.ranked(archs, inherited) or (), strict=False):
            known["ranker"] = value
        return proxies

    def accuracies(self) -> dict[str, float]:
        """Search accuracy with inherited weights of every architecture that was judged."""
        return {arch: numbers["accuracy"] for arch, numbers in self._log.known().items()}


def _judge_share(run: "Run", archs: list[str], progress: Progress) -> None:
    """Judge this process's part of `archs`, which lies together."""
    first, last = (part * len(archs) // run.team.size for part in (run.team.rank, run.team.rank + 1))
    run.team.tell(run.scorer.judged([Architecture.parse(arch) for arch in archs[first:last]], progress))


def _tune_share(run: "Run", archs: list[str], progress: Progress) -> None:
    """Fine-tune those of `archs` privately that fall to this process, one after another."""
    for number in run.team.numbers(len(archs)):
        run.team.tell(run.scorer.private.judged(Architecture.parse(archs[number])))


def _silent(done: int, total: int, what: str) -> None:
    """Nobody asked how far it is."""


JUDGING: Final = SharedWork("judging", _judge_share)
PRIVATE: Final = SharedWork("private", _tune_share)
