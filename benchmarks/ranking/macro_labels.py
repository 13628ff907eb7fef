"""How many labels of what quality the ranker needs on NAS-Bench-Macro, if there were no supernet at all.

    python -m benchmarks.ranking.macro_labels

Labels are the benchmark's own accuracies, with noise of a share of their spread added; the ranker sees options
and size. Prints a Markdown table: the mean tau over draws on all networks without a label.
"""

import numpy as np

from benchmarks import common
from benchmarks.ranking.macro_data import SPACE, read_truth
from pipeline.ranking.features import Features, Part
from pipeline.ranking.ridge import Ridge
from pipeline.ranking.statistics import kendall_tau

DRAWS = 20
COUNTS = (20, 40, 60, 100, 200)
PARTS: tuple[tuple[Part, ...], ...] = (
    ("size",),
    ("options",),
    ("size", "options"),
    ("size", "totals"),
    ("size", "totals", "options"),
)


def main() -> None:
    """Print the table."""
    common.parser(__doc__).parse_args()
    truth = read_truth()
    # The logarithm of the error rate: differences at the top count as they do for people.
    worth = -np.log(100 - truth.accuracy)
    print("| parts | noise | " + " | ".join(f"{n} labels" for n in COUNTS) + " |")
    print("|---|---" + "|---" * len(COUNTS) + "|")
    for parts in PARTS:
        features = Features(SPACE, 1, parts)
        x = features(truth.archs, [], [])
        for noise in (0.0, 0.5, 1.0):
            cells = []
            for n in COUNTS:
                rng = np.random.default_rng(n)
                taus = []
                for _ in range(DRAWS):
                    chosen = rng.choice(len(worth), n, replace=False)
                    labels = worth[chosen] + noise * worth.std() * rng.normal(size=n)
                    rest = np.setdiff1d(np.arange(len(worth)), chosen)
                    taus.append(kendall_tau(worth[rest], Ridge.fit(x[chosen], labels, features.belief)(x[rest])) or 0.0)
                cells.append(f"{np.mean(taus):.3f}")
            print(f"| {' + '.join(parts)} | {noise:.1f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
