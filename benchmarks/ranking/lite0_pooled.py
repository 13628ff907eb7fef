"""All supernets that start from published weights together: is any way to divide the space ahead of not dividing it?

    python -m benchmarks.ranking.lite0_pooled SOURCE...     # such as docs/results/fewshot-signs

Each source is what `lite0_fewshot collect` left. A supernet's figure is Kendall's tau by one way minus that by another,
on the networks of its source; intervals are Student's over all supernets: they hold other trainings and other
sets of pictures, not other networks.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.ranking.lite0_rankings import RANKED, Networks, read_scores
from benchmarks.ranking.lite0_report import ONE_SHOT, Table, table
from benchmarks.ranking.lite0_train import WAYS

HEAD = ("", "supernets", "tau", "[95 %]", "inside bands", "[95 %]", "ahead inside bands")


def read(source: str) -> Table:
    """Taus of one source."""
    return table(Networks(common.read_rows(Path(f"{source}-networks.csv"))), read_scores(Path(f"{source}-scores.csv")))


def row(tables: Sequence[Table], one: str, other: str) -> list[str]:
    """What one ranking is ahead of another, over all supernets that have both."""
    both = [found for found in tables if one in found.overall and other in found.overall]
    cells = [f"{one} minus {other}"]
    for part in ("overall", "inside"):
        taus = [getattr(found, part) for found in both]
        differences = np.concatenate([tau[one].minus(tau[other]).exact for tau in taus])
        cells += [*([f"{len(differences)}"] if part == "overall" else []), *common.over_seeds(differences, "+.3f")]
    return [*cells, f"{(differences > 0).sum()} of {len(differences)}"]


def main() -> None:
    """Print the table."""
    parser = common.parser(__doc__)
    parser.add_argument("sources", nargs="+")
    tables = [read(source) for source in parser.parse_args().sources]
    few_shot = [way for way in WAYS if way != ONE_SHOT]
    pairs = [(way + how, ONE_SHOT + how) for how in ("", RANKED) for way in few_shot]
    pairs += [(ONE_SHOT + RANKED, ONE_SHOT), (ONE_SHOT + RANKED, "MACs")]
    common.print_table(
        HEAD, [row(tables, *pair) for pair in pairs if any(pair[0] in found.overall for found in tables)]
    )


if __name__ == "__main__":
    main()
