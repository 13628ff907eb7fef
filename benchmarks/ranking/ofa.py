"""The ranker, unchanged, on a space that it was not made on: Once-for-All's MobileNetV3 under Note10 limits.

    python -m benchmarks.ranking.ofa

Truth is the published accuracy predictor (a surrogate, not a measurement). No supernet's scores are public for it, so a
score is the truth with noise of a share of its spread inside the limit: what a supernet that errs without a pattern
would say. Smoothing mends such errors at best, so a real supernet gains less. The ranker learns from 120 networks
inside the limit; tau is on 1,000 others, mean over the draws (least, most).
"""

import numpy as np

from benchmarks import common
from benchmarks.search.problems import ofa
from pipeline.fewshot.partition import Partition
from pipeline.ranking.ranked import RankedScorer
from pipeline.ranking.ridge import Floats
from pipeline.ranking.statistics import kendall_tau
from pipeline.spaces.codes import Codes

LEARNED_FROM, RANKED, DRAWS = 120, 1000, 5
NOISE = (0.5, 1.0, 2.0)


def main() -> None:
    """Print the table."""
    common.parser(__doc__).parse_args()
    rows = []
    for limit in (15, 20, 25, 30):
        benchmark = ofa(limit)
        problem, codes = benchmark.problem, benchmark.problem.space
        if not isinstance(codes, Codes):
            raise SystemExit("the space of the Once-for-All problems is no space of architectures")
        found = problem.random(LEARNED_FROM + RANKED, np.random.default_rng(limit))
        archs, truth = codes.decode(found), benchmark.truth(found)
        macs = problem.costs.values(found)["macs"]
        by_macs = kendall_tau(macs[LEARNED_FROM:], truth[LEARNED_FROM:])
        for noise in NOISE:
            taus: list[tuple[float, float]] = []
            for draw in range(DRAWS):
                score = truth + np.random.default_rng(draw).normal(0, noise * truth.std(), len(truth))
                partition = Partition.whole(codes.space)
                known = LEARNED_FROM
                ranker = RankedScorer.learn(partition, archs[:known], score[:known].tolist(), [])
                ranked = np.array(ranker(archs[known:], score[known:].tolist()))
                taus.append((_tau(score[known:], truth[known:]), _tau(ranked, truth[known:])))
            raw, mended = np.array(taus).T
            rows.append((f"{limit} ms", f"{noise:g}", f"{by_macs:.3f}", _shown(raw), _shown(mended)))
    common.print_table(("limit", "noise", "tau by MACs", "by the score", "by the ranker"), rows)


def _tau(one: Floats, other: Floats) -> float:
    return kendall_tau(one, other) or 0.0


def _shown(values: Floats) -> str:
    return f"{values.mean():.3f} ({values.min():.3f}, {values.max():.3f})"


if __name__ == "__main__":
    main()
