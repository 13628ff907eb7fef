"""What a run ends as is truly worth: NAS-Bench-Macro with supernets trained here, final trainings looked up.

    python -m benchmarks.search.finals truth                                # what there is to find, no supernet
    python -m benchmarks.ranking.macro_fewshot --work DIR --seeds 3,4,5,6,7   # leaves seedN/oneshot.safetensors
    python -m benchmarks.search.finals judge --work DIR --macs 60M          # each network once; goes on where it was
    python -m benchmarks.search.finals report --work DIR --table TABLE
    python -m benchmarks.search.finals ranks --work DIR                     # tau on 300 networks without a limit

`judge` judges all networks under the largest of `--macs` at `--pixels`, so that every search below that is free and
rankings of all of them can be compared with the truth; without it the report judges what a search asks for. It does
what `pocketnas run` does: 120 random networks inside the limit teach the ranker, `guided` judges 100 by the ranker or
by the inherited score, the best k are "trained" (the first of the benchmark's three trainings), the best of them by
that is the winner, and the mean of the three is what it is worth. Intervals are Student's over the supernets.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks import common
from benchmarks.ranking.macro_data import SPACE, drawn, read_truth
from benchmarks.ranking.macro_train import one_thread
from benchmarks.search.judged import Judged
from latency_tables.blocks import total_macs
from latency_tables.store import load_table
from pipeline.budget import read_budget
from pipeline.fewshot.partition import Partition
from pipeline.ranking.private_tuning import reranked
from pipeline.ranking.ranked import RankedScorer
from pipeline.ranking.statistics import kendall_tau
from pipeline.search.costs import Costs, space_costs
from pipeline.search.evaluators import Scored
from pipeline.search.pool import FeasibleSpace
from pipeline.search.settings import SearchSettings
from pipeline.search.study import search
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes

Floats = NDArray[np.float64]
LEARNED_FROM, EVALUATIONS, PRIVATE = 120, 100, 12
FINALISTS = (1, 3, 8, 12)
RANDOM_DRAWS, ASKED_REGRET = 2000, 0.15
NETWORKS = 300  # drawn by docs/results/fewshot.md


@dataclass(frozen=True)
class Limit:
    """One budget with the truth of everything inside it: `first` training and `mean` of three, percent."""

    name: str
    costs: Costs
    trainings: dict[str, tuple[float, float]]

    @cached_property
    def problem(self) -> FeasibleSpace:
        return FeasibleSpace(Codes(SPACE), self.costs)

    @cached_property
    def archs(self) -> list[Architecture]:
        return list(self.problem.space.decode(self.problem.everything))

    @cached_property
    def worth(self) -> Floats:
        """The mean of three trainings of every network inside."""
        return np.array([self.trainings[str(arch)][1] for arch in self.archs])

    @cached_property
    def largest(self) -> float:
        """What the network of most MACs is worth."""
        return float(self.worth[self.costs.values(self.problem.everything)["macs"].argmax()])

    def won(self, finalists: Sequence[Architecture]) -> float:
        """What the best of the finalists by one training is worth."""
        return max(self.trainings[str(arch)] for arch in finalists)[1]


Order = Callable[[Limit, Judged, int], list[Architecture]]


def ranker_of(limit: Limit, judged: Judged, seed: int) -> RankedScorer:
    """The product's ranker, from random networks inside the limit."""
    rows = limit.problem.random(LEARNED_FROM, np.random.default_rng([seed, 11]))
    archs = list(limit.problem.space.decode(rows))
    return RankedScorer.learn(Partition.whole(SPACE), archs, judged.scores(archs), [])


def searched(limit: Limit, seed: int, score: Callable[[Sequence[Architecture]], list[float]]) -> list[Architecture]:
    """What `guided` judged, best first."""
    with TemporaryDirectory() as folder:
        settings = SearchSettings("guided", EVALUATIONS, seed)
        evaluator, problem = Scored("ranker", score), limit.problem
        found = search(problem.space, limit.costs, evaluator, settings, Path(folder) / "study.journal")
    return [Architecture.parse(candidate.arch) for candidate in found.candidates]


def by_ranker(limit: Limit, judged: Judged, seed: int) -> list[Architecture]:
    ranker = ranker_of(limit, judged, seed)
    return searched(limit, seed, lambda archs: ranker(archs, judged.scores(archs)))


def by_ranker_then_private(limit: Limit, judged: Judged, seed: int) -> list[Architecture]:
    """The same with its best dozen in the order of their private fine-tunes."""
    found = by_ranker(limit, judged, seed)
    return [found[place] for place in reranked(range(len(found)), judged.private(found[:PRIVATE]))]


def by_score(limit: Limit, judged: Judged, seed: int) -> list[Architecture]:
    return searched(limit, seed, judged.scores)


def by_macs(limit: Limit, judged: Judged, seed: int) -> list[Architecture]:
    order = np.argsort(-limit.costs.values(limit.problem.everything)["macs"], kind="stable")
    return [limit.archs[place] for place in order]


def at_random(limit: Limit, judged: Judged, seed: int) -> list[Architecture]:
    return list(limit.problem.space.decode(limit.problem.random(EVALUATIONS, np.random.default_rng([seed, 7]))))


ORDERS: dict[str, Order] = {
    "search by the ranker": by_ranker,
    "the same, private fine-tunes": by_ranker_then_private,
    "search by the inherited score": by_score,
    "most MACs": by_macs,
    "random networks": at_random,
}


def limits(macs: Sequence[str], latency_ms: Sequence[float], table: Path | None) -> Iterator[Limit]:
    """Each limit on its own; one on latency keeps inside the largest one on MACs, up to which networks are judged."""
    rows = common.read_rows(common.SHARED / "nas_bench_macro_cifar10.csv.gz")
    trainings = {
        str(common.macro_architecture(SPACE, row["arch"])): (float(row["acc1"]), float(row["mean_acc"])) for row in rows
    }
    for most in macs:
        yield Limit(f"{most} MACs", space_costs(SPACE, read_budget({"macs": most}), {}), trainings)
    tables = {} if table is None else {"device": load_table(table)}
    for most_ms in latency_ms if table is not None else ():
        costs = space_costs(SPACE, read_budget({"latency_ms": most_ms, "macs": macs[-1]}), tables)
        yield Limit(f"{most_ms:g} ms", costs, trainings)


def truth(given: argparse.Namespace) -> None:
    """What there is to find inside each limit, and what the best of eight random networks is worth."""
    rows = []
    for limit in limits(given.macs, given.latency_ms, given.table):
        best, rng = limit.worth.max(), np.random.default_rng(0)
        drawn = [rng.choice(len(limit.archs), 8, replace=False) for _ in range(RANDOM_DRAWS)]
        won = np.array([limit.won([limit.archs[place] for place in places]) for places in drawn])
        rows.append(
            (
                f"{limit.name}: {len(limit.archs):,} networks",
                f"{best:.2f}",
                f"{(limit.worth >= best - ASKED_REGRET).sum()}",
                f"{limit.worth.mean():.2f}",
                f"{limit.largest:.2f}",
                f"{np.median(best - won):.2f}",
                f"{100 * (won.mean() / limit.worth.mean() - 1):+.1f} %",
            )
        )
    head = ("limit", "best", f"within {ASKED_REGRET} of it", "mean", "of most MACs")
    common.print_table((*head, "regret of the best of 8 random", "its gain over the mean"), rows)


def judged_by(given: argparse.Namespace, seed: int) -> Judged:
    """What the supernet of `seed` has judged."""
    return Judged(given.work / f"seed{seed}", given.pixels, given.batchnorm_images, given.images)


def judge(given: argparse.Namespace) -> None:
    """Judge for `--seconds`, one supernet after another."""
    one_thread()
    (limit,) = limits([given.macs[-1]], (), None)
    for seed in given.seeds:
        if not judged_by(given, seed).judge(limit.archs, given.seconds):
            raise SystemExit("the same command goes on")


@dataclass(frozen=True)
class Ending:
    """What a way to search ends as under one limit, by supernet: the worth of the winner, percent."""

    limit: Limit
    worth: Floats

    def row(self, *names: str) -> list[str]:
        """As the table has it."""
        best, mean = float(self.limit.worth.max()), float(self.limit.worth.mean())
        improvement = 100 * (self.worth / mean - 1)
        return [
            self.limit.name,
            *names,
            ", ".join(f"{one:.2f}" for one in self.worth),
            f"{np.median(best - self.worth):.2f} ({(best - self.worth).max():.2f})",
            " ".join(common.over_seeds(improvement, "+.2f")),
            f"{(self.worth < self.limit.largest).sum()} of {len(self.worth)}",
        ]


def report(given: argparse.Namespace) -> None:
    """Print the tables: what each way ends as, and how well each ranking agrees with the truth."""
    one_thread()
    seeds = {seed: judged_by(given, seed) for seed in given.seeds}
    endings, agreements = [], []
    for limit in limits(given.macs, given.latency_ms, given.table):
        print(
            f"{limit.name}: {len(limit.archs)} networks, mean {limit.worth.mean():.2f}, best {limit.worth.max():.2f},"
            f" of most MACs {limit.largest:.2f}"
        )
        for name, order in ORDERS.items():
            orders = [order(limit, judged, seed) for seed, judged in seeds.items()]
            for k in FINALISTS:
                worth = np.array([limit.won(found[:k]) for found in orders])
                endings.append(Ending(limit, worth).row(name, str(k)))
        if all(judged.knows(limit.archs) for judged in seeds.values()):
            taus = [agreement(limit, judged, seed) for seed, judged in seeds.items()]
            agreements.append(
                [limit.name, *(" ".join(common.over_seeds(column, "+.2f")) for column in zip(*taus, strict=True))]
            )
    print()
    head = ("limit", "networks from", "finalists", "worth, by supernet, %", "regret: median (most)")
    common.print_table((*head, "over random, % [95 %]", "behind most MACs"), endings)
    print()
    common.print_table(("limit", "tau by inherited score", "by ranker", "by MACs"), agreements)


def agreement(limit: Limit, judged: Judged, seed: int) -> tuple[float, float, float]:
    """Kendall's tau of each ranking with what networks are worth, all inside the limit."""
    scores = judged.scores(limit.archs)
    macs = limit.costs.values(limit.problem.everything)["macs"]
    rankings = (scores, ranker_of(limit, judged, seed)(limit.archs, scores), macs)
    found = [kendall_tau(np.array(ranking), limit.worth) or 0.0 for ranking in rankings]
    return found[0], found[1], found[2]


def ranks(given: argparse.Namespace) -> None:
    """Print tau on the 300 networks of docs/results/fewshot.md; the ranker learns from their scores."""
    one_thread()
    truth = read_truth()
    accuracy = dict(zip(map(str, truth.archs), truth.accuracy, strict=True))
    archs, _ = drawn(truth, NETWORKS, 0)
    worth = np.array([accuracy[str(arch)] for arch in archs])
    macs = [float(total_macs(SPACE.blocks(arch))) for arch in archs]
    rows = []
    for seed in given.seeds:
        scores = judged_by(given, seed).scores(archs)
        ranked = RankedScorer.learn(Partition.whole(SPACE), archs, scores, [])(archs, scores)
        rows.append([kendall_tau(np.array(values), worth) or 0.0 for values in (macs, scores, ranked)])
    names = ("MACs", "one-shot", "one-shot, ranker")
    cells = [
        (*common.over_seeds(taus, ".3f"), ", ".join(f"{tau:.3f}" for tau in taus)) for taus in zip(*rows, strict=True)
    ]
    common.print_table(
        ("ranked by", "tau", "[95 % over seeds]", "of each seed"), [(n, *c) for n, c in zip(names, cells, strict=True)]
    )


def main() -> None:
    """One of the four."""
    parser = common.parser(__doc__)
    parser.add_argument("what", choices=("truth", "judge", "report", "ranks"))
    parser.add_argument("--work", type=Path, default=Path())
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[3, 4, 5, 6, 7])
    parser.add_argument("--macs", type=lambda text: text.split(","), default=["40M", "60M"])
    parser.add_argument("--latency-ms", type=lambda text: [float(ms) for ms in text.split(",")], default=[])
    parser.add_argument("--table", type=Path)
    parser.add_argument("--pixels", type=int, default=16)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--batchnorm-images", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=400)
    given = parser.parse_args()
    {"truth": truth, "judge": judge, "report": report, "ranks": ranks}[given.what](given)


if __name__ == "__main__":
    main()
