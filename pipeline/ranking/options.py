"""Which options a network is made of, read off its spelling, and how a proxy favours or slights each.

Understood spellings: pocketnas architectures (`r32_w64-k3e3_…`), NAS-Bench-201 cells (`|conv~0|+|…`), and one
digit per layer (`12020211`).
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.ranking.statistics import RankError
from pipeline.ranking.weighted import Floats, Order
from pipeline.spaces.architecture import Architecture

_CELL_EDGE = re.compile(r"([^|~+]+)~(\d+)")


@dataclass(frozen=True, slots=True)
class OptionResidual:
    """How a proxy treats the networks that have one option in one place.

    `residual` is the mean of (rank by proxy - rank by truth) / n over them, from -1 to 1: positive means that the
    proxy rates the option higher than it deserves. `ci95` is two standard errors either side.
    """

    place: str
    option: str
    n: int
    residual: float
    ci95: tuple[float, float] | None


def options_of(spelling: str) -> dict[str, str]:
    """Place -> option of one network; RankError for a spelling that is none of the understood ones."""
    if spelling.startswith("|"):
        nodes = spelling.split("+")
        return {
            f"{node}<-{edge[2]}": edge[1] for node, cell in enumerate(nodes, 1) for edge in _CELL_EDGE.finditer(cell)
        }
    if spelling.isdigit():
        return {f"layer{position}": digit for position, digit in enumerate(spelling, 1)}
    try:
        arch = Architecture.parse(spelling)
    except ValueError:
        raise RankError(
            f"{spelling!r} is no architecture; understood are pocketnas strings (r32_w64-k3e3_…),"
            " NAS-Bench-201 cells (|op~0|+|…) and one digit per layer"
        ) from None
    places = {"resolution": str(arch.resolution)}
    for number, stage in enumerate(arch.stages, 1):
        places |= {f"stage{number}.width": str(stage.width), f"stage{number}.depth": str(len(stage.ops))}
        places |= {f"stage{number}.layer{layer}": str(op) for layer, op in enumerate(stage.ops, 1)}
    return places


def table_of_options(spellings: Sequence[str]) -> list[dict[str, str]]:
    """`options_of` each; a layer that only deeper networks have is "absent" in the others."""
    rows = [options_of(spelling) for spelling in spellings]
    places = {place: None for row in rows for place in row}
    return [{place: row.get(place, "absent") for place in places} for row in rows]


def option_residuals(truth: Floats, proxy: Floats, rows: Sequence[Mapping[str, str]]) -> list[OptionResidual]:
    """The residual of each option that not all networks share, by place and option."""
    n = len(truth)
    ones = np.ones((1, n))
    difference = (Order.of(proxy).mid_ranks(ones)[0] - Order.of(truth).mid_ranks(ones)[0]) / n
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        for place, option in row.items():
            members[place, option].append(index)
    residuals = []
    for (place, option), indices in sorted(members.items()):
        if len(indices) == n:
            continue
        own = difference[indices]
        mean = float(own.mean())
        spread = 2 * float(own.std(ddof=1)) / len(own) ** 0.5 if len(own) > 1 else None
        interval = None if spread is None else (mean - spread, mean + spread)
        residuals.append(OptionResidual(place, option, len(own), mean, interval))
    return residuals
