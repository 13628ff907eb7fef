"""The tables of docs/results/fewshot.md about supernets that start from published weights, from two small files.

    python -m benchmarks.ranking.lite0_report docs/results/fewshot-lite0 [docs/images/fewshot-lite0.svg]

The files are what `lite0_fewshot collect` left. Intervals are over seeds and networks together.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.plot import dot_plot
from benchmarks.ranking.lite0_fewshot import AVERAGED, ROOT
from benchmarks.ranking.lite0_problem import bands
from benchmarks.ranking.lite0_rankings import RANKED, WITH_ROOT, Networks, Scores, rankings, read_scores
from benchmarks.ranking.lite0_statistics import Judge, Taus, best_tau, reliability
from benchmarks.ranking.lite0_train import WAYS
from pipeline.ranking.statistics import kendall_tau
from pipeline.ranking.weighted import Floats

ONE_SHOT = "one-shot"
RANKINGS_HEAD: Sequence[str] = (
    "ranked by",
    "tau [95 %]",
    "of each seed",
    "tau inside bands [95 %]",
    "of each seed",
    "inside bands, minus MACs [95 %]",
    "truth of the bands' first, %",
)
PAIRS_HEAD: Sequence[str] = (
    "",
    "tau [95 %]",
    "[seeds alone]",
    "of each seed",
    "inside bands [95 %]",
    "[seeds alone]",
    "of each seed",
)
REGIONS_HEAD: Sequence[str] = ("split", "seed", "region", "networks", "one-shot tau", "child tau")


@dataclass(frozen=True)
class Table:
    """Taus of every ranking, overall and inside bands."""

    judge: Judge
    overall: dict[str, Taus]
    inside: dict[str, Taus]
    values: dict[str, list[Floats]]

    @classmethod
    def of(cls, networks: Networks, values: dict[str, list[Floats]]) -> "Table":
        """Of rankings by name, one for each seed."""
        judge = Judge(networks.truth, bands(networks.column("macs")), len(next(iter(values.values()))))
        overall = {name: judge.overall(columns) for name, columns in values.items()}
        inside = {name: judge.inside(columns) for name, columns in values.items()}
        return cls(judge, overall, inside, values)

    def rows(self) -> Iterator[list[str]]:
        """A line for each ranking."""
        for name in self.overall:
            yield [
                name,
                self.told(self.overall[name]),
                ", ".join(f"{tau:.3f}" for tau in self.overall[name].exact),
                self.told(self.inside[name]),
                ", ".join(f"{tau:.3f}" for tau in self.inside[name].exact),
                self.told(self.inside[name].minus(self.inside["MACs"]), "+.3f"),
                self.first(name),
            ]

    def pair(self, one: str, other: str) -> list[str]:
        """What one ranking is ahead of another, overall and inside bands."""
        cells = [f"{one} minus {other}"]
        for taus in (self.overall, self.inside):
            difference = taus[one].minus(taus[other])
            each = ", ".join(f"{value:+.3f}" for value in difference.exact)
            cells += [self.told(difference, "+.3f"), common.over_seeds(difference.exact, "+.3f")[1], each]
        return cells

    def told(self, taus: Taus, form: str = ".3f") -> str:
        """Mean over the seeds and its interval."""
        low, high = self.judge.interval(taus)
        return f"{taus.exact.mean():{form}} [{low:{form}}, {high:{form}}]"

    def first(self, name: str) -> str:
        """The mean truth of the networks that are ranked first inside each band, percent, over seeds."""
        taken = []
        for values in self.values[name]:
            for band in sorted(set(self.judge.bands.tolist())):
                own = np.flatnonzero(self.judge.bands == band)
                taken.append(self.judge.truth[own[np.argmax(values[own])]])
        return f"{100 * float(np.mean(taken)):.1f}"


def table(networks: Networks, scores: dict[tuple[int, str], Scores]) -> Table:
    """All seeds that are there with every way that is asked of them."""
    truth = networks.truth
    seeds = sorted({seed for seed, _ in scores})
    found = [rankings(networks, {way: own for (s, way), own in scores.items() if s == seed}, truth) for seed in seeds]
    names = [name for name in found[0] if all(name in one for one in found)]
    return Table.of(networks, {name: [one[name] for one in found] for name in names})


def pairs(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The comparisons that answer the question."""
    few_shot = [way for way in WAYS if way != ONE_SHOT]
    wanted = [(ONE_SHOT, ROOT), *((way, ONE_SHOT) for way in few_shot), (ONE_SHOT, "MACs")]
    wanted += [(way + RANKED, ONE_SHOT + RANKED) for way in few_shot]
    wanted += [(ONE_SHOT + RANKED, ONE_SHOT), (ONE_SHOT + RANKED, "MACs")]
    wanted += [(way + late, way) for way in WAYS for late in (AVERAGED, WITH_ROOT)]
    return ((one, other) for one, other in wanted if one in names and other in names)


def inside_regions(networks: Networks, scores: dict[tuple[int, str], Scores]) -> Iterator[list[str]]:
    """Tau of a child and of one-shot on the child's own networks."""
    truth = networks.truth
    for (seed, way), own in scores.items():
        if way not in WAYS or way == ONE_SHOT:
            continue
        where = np.array([own.region[number] for number in networks.true.tolist()])
        for region in sorted(set(where.tolist())):
            members = np.flatnonzero(where == region)
            numbers = networks.true[members]
            taus = [kendall_tau(truth[members], one.of(numbers)) for one in (scores[seed, ONE_SHOT], own)]
            shown = ["undefined" if tau is None else f"{tau:.3f}" for tau in taus]
            yield [way, f"{seed}", f"{region}", f"{len(members)}", *shown]


def about_truth(networks: Networks) -> Iterator[str]:
    """What was trained alone, and how much of it is noise."""
    truth = networks.column("accuracy")
    yield (
        f"{len(truth)} networks: accuracy {100 * truth.min():.1f} to {100 * truth.max():.1f} %, mean"
        f" {100 * truth.mean():.1f}, standard deviation {100 * truth.std(ddof=1):.2f} points; training one alone took"
        f" {networks.column('cpu_seconds').mean():.0f} CPU seconds on average."
    )
    twice = np.array([bool(networks.rows[number]["accuracy_again"]) for number in networks.true])
    if twice.sum() < 2:
        return
    first = truth[twice]
    second = np.array([float(networks.rows[number]["accuracy_again"]) for number in networks.true[twice]])
    noise = float((second - first).std(ddof=1)) / 2**0.5  # what all gain alike, by another parent, orders nothing
    tau, moved = kendall_tau(first, second) or 0.0, (second - first).mean()
    yield (
        f"{twice.sum()} trained again, from another supernet with another seed: tau {tau:.3f}, {100 * moved:+.2f}"
        f" points on average, standard deviation of one training {100 * noise:.2f} points."
    )
    if twice.all():
        truth, noise = networks.truth, noise / 2**0.5
        yield f"The truth is the mean of both: standard deviation over networks {100 * truth.std(ddof=1):.2f} points."
    own = bands(networks.column("macs"))
    centred = np.concatenate([truth[own == band] - truth[own == band].mean() for band in sorted(set(own.tolist()))])
    spread_inside = float((centred**2).sum() / (len(truth) - len(set(own.tolist())))) ** 0.5
    for where, spread, count in (
        ("overall", float(truth.std(ddof=1)), len(truth)),
        ("inside bands", spread_inside, len(truth) // len(set(own.tolist()))),
    ):
        share = max(0.0, reliability(noise, spread))
        yield f"Reliability {where}: {share:.2f}; who knew everything would reach tau {best_tau(count, share):.2f}."


def main(source: str, picture: str = "") -> None:
    """Print the tables, draw the picture."""
    networks = Networks(common.read_rows(Path(f"{source}-networks.csv")))
    scores = read_scores(Path(f"{source}-scores.csv"))
    found = table(networks, scores)
    print(*about_truth(networks), "", sep="\n")
    common.print_table(RANKINGS_HEAD, found.rows())
    print()
    common.print_table(PAIRS_HEAD, (found.pair(*pair) for pair in pairs([*found.overall])))
    print()
    common.print_table(REGIONS_HEAD, inside_regions(networks, scores))
    if picture:
        Path(picture).write_text(drawing(found))


def drawing(found: Table) -> str:
    """Tau inside bands, one point a seed."""
    wanted = ("MACs", ROOT, *(way + how for how in ("", RANKED) for way in WAYS))
    taus = {name: found.inside[name].exact for name in wanted if name in found.inside}
    low, high = (float(edge(np.concatenate([*taus.values()]))) for edge in (np.min, np.max))
    points = {name: {str(seed): float(tau) for seed, tau in enumerate(values)} for name, values in taus.items()}
    ticks = [tick / 10 for tick in range(-10, 11) if low - 0.05 <= tick / 10 <= high + 0.05]
    title = "Kendall tau with accuracy after training alone, inside bands of MACs, by training seed"
    return dot_plot(title, points, (low - 0.05, high + 0.05), ticks)


if __name__ == "__main__":
    main(*sys.argv[1:])
