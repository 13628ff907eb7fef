"""Tau by training seed, and what three seeds show: the table and picture of docs/results/fewshot.md.

    python -m benchmarks.ranking.seeds docs/results/fewshot-seeds.csv docs/images/fewshot-seeds.svg

Reads one line per ranking and seed, prints means over seeds with Student's 95 % intervals, draws the points.
"""

import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import fmean, stdev

from scipy.stats import t

from benchmarks import common
from benchmarks.plot import COLOURS

PAIRS = (
    ("one-shot", "MACs"),
    ("gradient split", "one-shot"),
    ("exhaustive split", "one-shot"),
    ("one-shot, ranker", "MACs"),
    ("gradient split, ranker", "one-shot, ranker"),
    ("exhaustive split, ranker", "one-shot, ranker"),
)
LEFT, WIDTH, ROW, LOW, HIGH = 190, 720, 34, 0.45, 0.82


def main(source: Path, picture: Path) -> None:
    """Print the differences and write the picture."""
    taus: dict[str, list[float]] = {}
    for line in common.read_rows(source):
        taus.setdefault(line["ranked_by"], []).append(float(line["tau"]))
    print("| | mean of the seeds [95 % over seeds] | of each seed |\n|---|---|---|")
    for one, other in PAIRS:
        differences = [a - b for a, b in zip(taus[one], taus[other], strict=True)]
        each = ", ".join(f"{d:+.3f}" for d in differences)
        print(f"| {one} minus {other} | {interval(differences)} | {each} |")
    picture.write_text(draw(taus))


def interval(values: Sequence[float]) -> str:
    """Mean and Student's 95 % interval over seeds."""
    reach = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    mean = fmean(values)
    return f"{mean:+.3f} [{mean - reach:+.3f}, {mean + reach:+.3f}]"


def draw(taus: Mapping[str, Sequence[float]]) -> str:
    """One row a ranking, one numbered point a seed, as SVG."""

    def at(tau: float) -> float:
        return LEFT + (tau - LOW) / (HIGH - LOW) * (WIDTH - LEFT - 20)

    height = 60 + ROW * len(taus)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"',
        f' font-size="12"><rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="10" y="20" font-size="14">Kendall tau with true accuracy, NAS-Bench-Macro, by training seed</text>',
    ]
    for step in (0.5, 0.6, 0.7, 0.8):
        parts.append(f'<line x1="{at(step)}" x2="{at(step)}" y1="32" y2="{height - 22}" stroke="#ddd"/>')
        parts.append(f'<text x="{at(step)}" y="{height - 8}" text-anchor="middle">{step}</text>')
    for row, (name, values) in enumerate(taus.items()):
        y = 52 + ROW * row
        parts.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        for seed, tau in enumerate(values):
            parts.append(f'<circle cx="{at(tau):.1f}" cy="{y}" r="8" fill="{COLOURS[seed]}" fill-opacity="0.85"/>')
            label = f'<text x="{at(tau):.1f}" y="{y + 4}" text-anchor="middle" fill="white">{seed}</text>'
            parts.append(label)
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
