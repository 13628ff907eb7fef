"""What judging costs by the number of images that set BatchNorm, and what fewer do to the order of networks.

    python -m benchmarks.ranking.judging RUN [--networks 60]

Random networks inside the budget of a run whose sub-supernets are trained; tau with the order by the most images,
beside that between two halves of the images that are judged: what the choice of those does to it.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import common
from pipeline.fewshot.prefix import JudgingImages
from pipeline.ranking.statistics import kendall_tau
from pipeline.runs.images import normalised
from pipeline.runs.run import Run

BATCHNORM = (32, 64, 128, 256, 512, 1024)


def main() -> None:
    """Print the table."""
    parser = common.parser(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--networks", type=int, default=60)
    given = parser.parse_args()
    run = Run.open(given.run)
    archs = run.codes.decode(run.problem.random(given.networks, np.random.default_rng(0)))
    images, labels = normalised(run.dataset.search, run.dataset, 1024, 0)
    scorer, counts = run.scorer.uncalibrated, [count for count in BATCHNORM if count <= len(run.dataset.train)]
    scores, seconds = [], []
    for count in counts:
        judging = JudgingImages(normalised(run.dataset.train, run.dataset, count, 0)[0], images, labels)
        began = time.process_time()
        scores.append(np.array(replace(scorer, judging=judging)(archs)))
        seconds.append(time.process_time() - began)
    parts = [replace(judging, images=images[half::2], labels=labels[half::2]) for half in (0, 1)]
    halves = kendall_tau(*(np.array(replace(scorer, judging=part)(archs)) for part in parts))
    print(f"{len(archs)} networks, {len(images)} images judged; tau between halves of them {halves:.3f}\n")
    head = ("images for BatchNorm", "CPU s a network", "tau with the most", "mean difference, nats", "spread, nats")
    rows = []
    for count, spent, one in zip(counts, seconds, scores, strict=True):
        tau, difference = kendall_tau(one, scores[-1]), abs(one - scores[-1]).mean()
        rows.append((f"{count}", f"{spent / len(archs):.3f}", f"{tau:.3f}", f"{difference:.4f}", f"{one.std():.3f}"))
    common.print_table(head, rows)


if __name__ == "__main__":
    main()
