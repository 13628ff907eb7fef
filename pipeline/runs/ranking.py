"""`pocketnas rank RUN`: what a run's scores are worth, by networks of its own space that were trained to the end."""

from dataclasses import asdict, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from latency_tables.blocks import total_macs, total_params
from pipeline.progress import Progress
from pipeline.ranking.prior import Weights
from pipeline.ranking.pruning import pruning
from pipeline.ranking.report import Columns, Question, rank_document
from pipeline.ranking.statistics import Bootstrap, kendall_tau
from pipeline.ranking.weighing import FEWEST, weigh, weighed_without_own
from pipeline.ranking.weighted import Floats
from pipeline.runs.run import Run
from pipeline.runs.timed import scheduled
from pipeline.runs.truth import Truth
from pipeline.search.score_log import ScoreLog

if TYPE_CHECKING:
    from pipeline.ranking.scores import RegionScorer

TRUTH: Final = "test accuracy"
INHERITED, RANKER, WEIGHED, BEFORE = "inherited score", "ranker", "weighed ranker", "checkpoint before"
_SIZES: Final = ("macs", "params")
_DROPS: Final = (1, 2, 4)


class RunRanking:
    """How a run ranks networks before any is trained to the end, and how well that agrees with the truth.

    Each network is judged on two halves of the search images, once; `before` is judged with the supernet as stage
    `train` left it, where stage `split` trained on.
    """

    def __init__(self, run: Run, truth: Truth) -> None:
        """`truth` has been trained; nothing is judged yet."""
        self._run, self._truth, self._archs = run, truth, truth.archs

    def report(self, bootstrap: Bootstrap, progress: Progress) -> tuple[Columns, Question, dict[str, Any]]:
        """The table of networks, what is asked of it, and `rank_document`'s answers.

        An answer also has the `pruning` by that ranking and, where it is a score, its `stability`: Kendall's tau with
        itself between the halves of the images, and with the scores by the checkpoint before.
        """
        scores, stability = self._scores(progress)
        truth = np.array(self._truth.accuracies())
        weights = self._weigh(scores, truth)
        sizes = self._sizes()
        columns = self._columns(truth, scores | sizes)
        region = "region" if "region" in columns.values else None
        question = Question(TRUTH, (*scores, *sizes), (), _SIZES, "arch", region, bootstrap)
        document = rank_document(columns, question)
        if weights is not None:
            document[RANKER]["weights"] = weights
        for name, values in (scores | sizes).items():
            found = [pruning(self._run.space, self._archs, values.tolist(), truth, drop) for drop in _DROPS]
            document[name] |= {"pruning": [asdict(one) for one in found], "stability": stability.get(name)}
        return columns, question, document

    def _scores(self, progress: Progress) -> tuple[dict[str, Floats], dict[str, dict[str, float | None]]]:
        """What each way to score says of the networks, and how stable that is."""
        run = self._run
        scorer = run.scorer.learn(progress)
        halves = self._judged(scorer.regions, "scores", progress)
        scores, ways = {INHERITED: _whole(halves)}, {INHERITED: halves}
        ranked = [scorer.ranked(self._archs, half.tolist()) for half in halves]
        if (whole := scorer.ranked(self._archs, scores[INHERITED].tolist())) is not None:
            scores[RANKER], ways[RANKER] = np.array(whole), np.array(ranked)
        stability = {name: {"tau_between_image_halves": kendall_tau(*both)} for name, both in ways.items()}
        if scheduled(run).split_epochs > 0:
            scores[BEFORE] = _whole(self._judged(self._parent(), "before", progress))
            stability[INHERITED]["tau_with_checkpoint_before"] = kendall_tau(scores[INHERITED], scores[BEFORE])
        return scores, stability

    def _weigh(self, scores: dict[str, Floats], truth: Floats) -> dict[str, Weights] | None:
        """Add the ranking by weights that the truth chooses to `scores`, each network's chosen without itself. The
        weights that the run used and those that all networks choose; None where they are too few or nothing is weighed.
        """
        parts = self._run.scorer.parts(self._archs, scores[INHERITED].tolist())
        if parts is None or len(truth) < FEWEST:
            return None
        scores[WEIGHED] = np.array(weighed_without_own(parts, truth))
        return {"used": self._run.scorer.weights, "by_truth": weigh(parts, truth)}

    def _judged(self, scorer: "RegionScorer", name: str, progress: Progress) -> Floats:
        """Minus the cross-entropy (nats) of each network on two halves of the images, shape (2, n)."""
        log, archs, judging = (
            ScoreLog(self._truth.folder / f"{name}.jsonl", "first", "second"),
            self._archs,
            scorer.judging,
        )
        known = log.known()
        new = [arch for arch in archs if str(arch) not in known]
        parts = [
            replace(scorer, judging=replace(judging, images=judging.images[part::2], labels=judging.labels[part::2]))
            for part in (0, 1)
        ]
        if new:
            first, second = (part(new, progress) for part in parts)
            found = zip(new, first, second, strict=True)
            log.add({str(arch): {"first": one, "second": other} for arch, one, other in found})
        known = log.known()
        return np.array([[known[str(arch)][half] for arch in archs] for half in ("first", "second")])

    def _parent(self) -> "RegionScorer":
        from pipeline.fewshot.partition import Partition
        from pipeline.ranking.scores import RegionScorer

        run = self._run
        return RegionScorer(Partition.whole(run.space), [run.supernet], run.judging)

    def _sizes(self) -> dict[str, Floats]:
        blocks = [self._run.space.blocks(arch) for arch in self._archs]
        return dict(zip(_SIZES, np.array([(total_macs(b), total_params(b)) for b in blocks], float).T, strict=True))

    def _columns(self, truth: Floats, values: dict[str, Floats]) -> Columns:
        """The table, which is also left as `networks.csv`."""
        from latency_tables.files import write_atomic

        table = {"arch": [str(arch) for arch in self._archs]}
        table |= {name: [repr(float(value)) for value in column] for name, column in ({TRUTH: truth} | values).items()}
        if len(self._run.partition.regions) > 1:
            table["region"] = [str(self._run.partition.route(arch)) for arch in self._archs]
        path = self._truth.folder / "networks.csv"
        rows = chain([table], zip(*table.values(), strict=True))
        write_atomic(path, "".join(",".join(row) + "\n" for row in rows).encode())
        return Columns(path, table)


def _whole(halves: Floats) -> Floats:
    """The mean over all images, up to the one by which halves of an odd number differ."""
    return np.asarray(halves.mean(0))
