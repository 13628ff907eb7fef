"""What the methods of `benchmarks.relax.macro` ended as, beside what is known: the table and picture of relax.md.

python -m benchmarks.relax.report docs/results/relax.csv docs/images/relax.svg --table TABLE
"""

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks import common
from benchmarks.plot import dot_plot, side_by_side
from benchmarks.ranking.macro_data import SPACE, read_truth
from latency_tables.store import load_table
from pipeline.budget import read_budget
from pipeline.search.costs import Costs, space_costs
from pipeline.search.pool import FeasibleSpace
from pipeline.spaces.codes import Codes

Row = dict[str, str]


def main() -> None:
    """Print a table for each limit and write the picture."""
    parser = common.parser(__doc__)
    parser.add_argument("rows", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--table", type=Path, help="latency table that the rows with a limit on milliseconds are of")
    given = parser.parse_args()
    rows = common.read_rows(given.rows)
    limits = list(dict.fromkeys(row["limit"] for row in rows))
    plots = []
    for limit in limits:
        costs = _costs(limit, given.table)
        known = None if costs is None else _known(costs)
        mine = [row for row in rows if row["limit"] == limit]
        print(f"\n### {limit}\n")
        common.print_table(("", "true accuracy, %", "each seed", "CPU s: training", "choosing"), _table(mine, known))
        plots.append(_plot(limit, mine, known))
    given.picture.write_text(side_by_side(plots, columns=1))


def _costs(limit: str, table: Path | None) -> Costs | None:
    number, unit = limit.split(" ")
    if unit == "MACs":
        return space_costs(SPACE, read_budget({"macs": number}), {})
    if table is None:
        return None
    return space_costs(SPACE, read_budget({"latency_ms": float(number)}), {"host": load_table(str(table))})


def _known(costs: Costs) -> dict[str, float]:
    """True accuracies (%) that need no method."""
    codes, truth = Codes(SPACE), read_truth()
    accuracy = dict(zip(truth.archs, truth.accuracy.tolist(), strict=True))
    feasible = FeasibleSpace(codes, costs).everything
    values = np.array([accuracy[arch] for arch in codes.decode(feasible)])
    return {
        "random network": float(values.mean()),
        "most MACs": float(values[np.argmax(costs["macs"].of(feasible))]),
        "the best there is": float(values.max()),
    }


def _by_method(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["method"], []).append(row)
    return found


def _table(rows: Sequence[Row], known: dict[str, float] | None) -> list[list[str]]:
    lines = []
    for method, mine in _by_method(rows).items():
        values = [float(row["accuracy"]) for row in mine]
        each = ", ".join(f"{value:.2f}" for value in values)
        seconds = [
            f"{fmean(float(row[f'{part}_cpu_seconds']) for row in mine):.0f}" for part in ("training", "choosing")
        ]
        lines.append([method, f"{fmean(values):.2f}", each, *seconds])
    return lines + [[name, f"{value:.2f}", "", "", ""] for name, value in (known or {}).items()]


def _plot(limit: str, rows: Sequence[Row], known: dict[str, float] | None) -> str:
    points = {
        method: {row["seed"]: float(row["accuracy"]) for row in mine} for method, mine in _by_method(rows).items()
    }
    points |= {name: {"": value} for name, value in (known or {}).items()}
    values = [value for each in points.values() for value in each.values()]
    low, high = np.floor(min(values)) - 1, np.ceil(max(values)) + 1
    step = max(1, round((high - low) / 8))
    ticks = [float(tick) for tick in range(int(low) + 1, int(high), step)]
    title = f"True accuracy of what was found inside {limit}, NAS-Bench-Macro, by training seed"
    return dot_plot(re.sub(r" +", " ", title), points, (low, high), ticks)


if __name__ == "__main__":
    main()
