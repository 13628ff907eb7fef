"""What it is worth to choose the weights of the ranker's parts by networks that were trained to the end.

    python -m benchmarks.ranking.weights

NAS-Bench-201 with the published supernet scores, and Once-for-All's space as in `benchmarks.ranking.ofa`. Tau on 800
networks that chose nothing, mean over the draws.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks import common
from benchmarks.ranking.nb201 import options_of_each, size_as_repaid, sizes_of, smoothed_scores
from benchmarks.search.problems import ofa
from pipeline.ranking.prior import WEIGHTS, Prior
from pipeline.ranking.report import Columns
from pipeline.ranking.ridge import Floats
from pipeline.ranking.statistics import kendall_tau
from pipeline.ranking.weighing import CHOICES, weigh
from pipeline.spaces.codes import Codes

LEARNED_FROM, RANKED, TRAINED = 120, 800, (20, 40, 80)


def nb201(score: str) -> Iterator[tuple[Floats, Floats]]:
    """Parts and truth of all networks, for each draw of the networks that are learned from, which come first."""
    columns = Columns.read(common.SHARED / "nasbench201_supernets.csv.gz")
    truth, sizes = columns.numbers("true_acc"), sizes_of(columns)
    places = np.argsort(np.argsort(columns.numbers(score), kind="stable"), kind="stable") / len(truth)
    for draw in range(8):
        order = np.random.default_rng(draw).permutation(len(truth))
        smoothed = smoothed_scores(places, options_of_each(columns), order[:LEARNED_FROM])
        size = size_as_repaid(places, sizes, order[:LEARNED_FROM])
        parts = np.stack([places, smoothed, size], axis=1)
        spreads = np.append(parts[:, :2].std(0), 1.0)  # size is made of standardised columns
        yield ((parts - parts.mean(0)) / spreads)[order], truth[order]


def once_for_all(limit_ms: int, noise: float) -> Iterator[tuple[Floats, Floats]]:
    """The same of random networks inside a limit, their scores the truth with noise."""
    benchmark = ofa(limit_ms)
    codes = benchmark.problem.space
    if not isinstance(codes, Codes):
        raise SystemExit("the space of the Once-for-All problems is no space of architectures")
    rows = benchmark.problem.random(LEARNED_FROM + RANKED + TRAINED[-1], np.random.default_rng(limit_ms))
    archs, truth, where = codes.decode(rows), benchmark.truth(rows), [0] * len(rows)
    for draw in range(4):
        scores = (truth + np.random.default_rng(draw).normal(0, noise * truth.std(), len(truth))).tolist()
        known = LEARNED_FROM
        prior = Prior.learn(codes.space, 1, archs[:known], scores[:known], where[:known])
        yield prior.standardised(archs, scores, where), truth


def row(draws: Iterator[tuple[Floats, Floats]]) -> list[str]:
    """Mean tau by the usual weights, by those that so many networks choose, and by the best there are."""
    taus = []
    for parts, truth in draws:
        tested = slice(LEARNED_FROM, LEARNED_FROM + RANKED)
        trained = [slice(tested.stop, tested.stop + count) for count in TRAINED]
        chosen = [WEIGHTS, *(weigh(parts[own], truth[own]) for own in trained)]
        by = {weights: kendall_tau(parts[tested] @ np.array(weights), truth[tested]) or 0.0 for weights in CHOICES}
        taus.append([*(by[weights] for weights in chosen), max(by.values())])
    return [f"{mean:.3f}" for mean in np.mean(taus, axis=0)]


def main() -> None:
    """Print the table."""
    common.parser(__doc__).parse_args()
    rows = [
        [f"NAS-Bench-201, {name}", *row(nb201(f"{name.replace('-', '')}_acc"))] for name in ("one-shot", "few-shot")
    ]
    for limit in (15, 25):
        for noise in (0.5, 1.0, 2.0):
            rows.append([f"Once-for-All, {limit} ms, noise {noise:g}", *row(once_for_all(limit, noise))])
    head = ("", "usual weights", *(f"chosen by {count}" for count in TRAINED), "the best there are")
    common.print_table(head, rows)


if __name__ == "__main__":
    main()
