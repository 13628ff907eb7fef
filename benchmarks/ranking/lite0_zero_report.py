"""Zero-cost columns where there is no benchmark, alone and beside the product's ranker, from what was collected.

    python -m benchmarks.ranking.lite0_zero_report docs/results/fewshot-lite0

The files are what `lite0_fewshot collect` left. Intervals are over seeds and networks together.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import common
from benchmarks.ranking.lite0_fewshot import ROOT
from benchmarks.ranking.lite0_rankings import RANKED, Networks, RankerAtWork, Scores, read_scores
from benchmarks.ranking.lite0_report import ONE_SHOT, Table
from benchmarks.ranking.lite0_zero import PUBLISHED, SEEDS, zero_cost_rankings
from benchmarks.ranking.zero_cost import PARTS, WEIGHTS, with_column
from pipeline.ranking.weighted import Floats

ALONE_HEAD = ("ranked by", "tau [95 %]", "inside bands [95 %]", "inside bands, minus MACs [95 %]")
GAINS_HEAD = (
    "ranker of",
    "with",
    *(f"{weight:g} of it, gain in tau{where} [95 %]" for weight in WEIGHTS for where in ("", " inside bands")),
)


def columns(networks: Networks) -> dict[str, Floats]:
    """Every zero-cost column, shape (n,), by the name it is told with."""
    found = {"MACs": networks.column("macs")}
    found |= {f"{name.replace('_', ' ')}, published weights": networks.column(name) for name in PUBLISHED}
    found |= {f"{name}, weights {seed}": networks.column(name + end) for end, seed in SEEDS.items() for name in PARTS}
    return found | zero_cost_rankings(networks.column)


def table(networks: Networks, scores: dict[tuple[int, str], Scores]) -> Table:
    """The columns by themselves, the rankers by themselves, and each ranker with each column at each weight."""
    seeds = sorted({seed for seed, _ in scores})
    own = columns(networks)
    values = {name: [column] * len(seeds) for name, column in own.items()}
    for way in (ROOT, ONE_SHOT):
        ranker = [RankerAtWork(networks, scores[seed, way]).values() for seed in seeds]
        values[way + RANKED] = ranker
        for name, column in own.items():
            for weight in WEIGHTS:
                values[beside(way, name, weight)] = [with_column(one, column, weight) for one in ranker]
    return Table.of(networks, values)


def beside(way: str, column: str, weight: float) -> str:
    """How a ranker with a further column is told."""
    return f"{way}{RANKED} + {weight:g} {column}"


def alone(found: Table, names: Sequence[str]) -> Iterator[list[str]]:
    """A line for each ranking."""
    for name in names:
        ahead = found.inside[name].minus(found.inside["MACs"])
        yield [name, found.told(found.overall[name]), found.told(found.inside[name]), found.told(ahead, "+.3f")]


def gains(found: Table, names: Sequence[str]) -> Iterator[list[str]]:
    """What each column adds to each ranker."""
    for way in (ROOT, ONE_SHOT):
        for name in names:
            cells = [way, name]
            for weight in WEIGHTS:
                for taus in (found.overall, found.inside):
                    gain = taus[beside(way, name, weight)].minus(taus[way + RANKED])
                    cells.append(found.told(gain, "+.3f"))
            yield cells


def main(source: str) -> None:
    """Print both tables."""
    networks = Networks(common.read_rows(Path(f"{source}-networks.csv")))
    found, names = table(networks, read_scores(Path(f"{source}-scores.csv"))), list(columns(networks))
    common.print_table(ALONE_HEAD, alone(found, [*names, ROOT + RANKED, ONE_SHOT + RANKED]))
    print()
    common.print_table(GAINS_HEAD, gains(found, names))


if __name__ == "__main__":
    main(*sys.argv[1:])
