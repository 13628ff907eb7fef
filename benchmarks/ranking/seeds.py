"""Tau by training seed, and what three seeds show: the table and picture of docs/results/fewshot.md.

    python -m benchmarks.ranking.seeds docs/results/fewshot-seeds.csv docs/images/fewshot-seeds.svg

Reads one line per ranking and seed, prints means over seeds with Student's 95 % intervals, draws the points.
"""

import sys
from pathlib import Path

from benchmarks import common
from benchmarks.plot import dot_plot

PAIRS = (
    ("one-shot", "MACs"),
    ("gradient split", "one-shot"),
    ("exhaustive split", "one-shot"),
    ("one-shot, ranker", "MACs"),
    ("gradient split, ranker", "one-shot, ranker"),
    ("exhaustive split, ranker", "one-shot, ranker"),
)
TITLE = "Kendall tau with true accuracy, NAS-Bench-Macro, by training seed"


def main(source: Path, picture: Path) -> None:
    """Print the differences and write the picture."""
    taus: dict[str, list[float]] = {}
    for line in common.read_rows(source):
        taus.setdefault(line["ranked_by"], []).append(float(line["tau"]))
    print("| | mean of the seeds [95 % over seeds] | of each seed |\n|---|---|---|")
    for one, other in PAIRS:
        differences = [a - b for a, b in zip(taus[one], taus[other], strict=True)]
        each = ", ".join(f"{d:+.3f}" for d in differences)
        print(f"| {one} minus {other} | {' '.join(common.over_seeds(differences, '+.3f'))} | {each} |")
    points = {name: {str(seed): tau for seed, tau in enumerate(values)} for name, values in taus.items()}
    picture.write_text(dot_plot(TITLE, points, (0.45, 0.82), (0.5, 0.6, 0.7, 0.8)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
