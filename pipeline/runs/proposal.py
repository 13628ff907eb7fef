"""What `pocketnas init` finds out before it writes a configuration: pictures, groups, start, device, budget, time."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from latency_tables.devices.registry import needs_a_person, open_runner
from latency_tables.devices.runner import DeviceOptions
from latency_tables.store import load_table
from latency_tables.table import LatencyTable, MissingRows
from pipeline.budget import Budget, Limit, read_budget
from pipeline.data.division import Division, divide
from pipeline.data.grouping import Grouping, proposed_grouping
from pipeline.data.inventory import inventory_lines
from pipeline.data.prepare import prepare
from pipeline.progress import Progress
from pipeline.runs.automatic import Chosen, choose
from pipeline.runs.config import DataConfig
from pipeline.runs.options import Options
from pipeline.spaces.codes import Codes

Status = Literal["ok", "look"]
_READ_PX: Final = 32  # of pictures that are only read to see whether they can be
_DRAWS: Final = 2000  # random networks that tell what share is inside the budget
_ORDER: Final = ("images", "groups", "start", "device", "budget", "time")
_QUANTILES: Final = (0.0, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; "look" asks the person to, and stops nothing."""

    name: str
    status: Status
    message: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration that runs, in plain values, and what it follows from.

    `used` counts pictures by split and class; `costs` are the least, middle and largest of random networks by name.
    """

    chosen: Chosen
    document: Mapping[str, Any]
    checks: tuple[Check, ...]
    used: Mapping[str, Mapping[str, int]]
    grouping: Grouping | None
    costs: Mapping[str, tuple[float, float, float]]


def propose(options: Options, progress: Progress | None = None) -> Proposal:
    """Look at everything that a run of `options.data` would need, and choose the rest.

    Raises DataError for pictures that are no data set, ConfigError, TableError and BudgetError for options that are
    not accepted or a device that does not answer, InfeasibleBudget where no network keeps the budget.
    """
    chosen = choose(options)
    checks: list[Check] = [*_start(chosen)]
    table = _table(chosen, checks)
    budget = read_budget(chosen.document.get("budget", {}), "the budget")
    costs = _costs(chosen, budget, table, checks)
    division = _divided(chosen)
    used, broken = _read(division, checks, progress)
    grouping = _grouping(chosen, checks)
    checks.append(_time(chosen))
    document = dict(chosen.document)
    if broken:
        document["data"] = {**document["data"], "skip_broken": True}
    checks.sort(key=lambda check: _ORDER.index(check.name))
    return Proposal(chosen, document, tuple(checks), used, grouping, costs)


def _divided(chosen: Chosen) -> Division:
    data = DataConfig.model_validate(chosen.document["data"])
    return divide(chosen.source, data.search_fraction, data.test_fraction, chosen.document.get("seed", 0))


def _read(
    division: Division, checks: list[Check], progress: Progress | None
) -> tuple[Mapping[str, Mapping[str, int]], int]:
    """Decode every picture once; what is used by split and class, and how many cannot be read."""
    with tempfile.TemporaryDirectory() as scratch:
        found = prepare(division, _READ_PX, Path(scratch), progress, skip_broken=True)["inventory"]
    known = len(division.inventory.left_out)
    broken = sum(left["count"] for left in found["left_out"]) - known
    first, *others = inventory_lines(found)
    checks.append(Check("images", "ok", first.removeprefix("images: ")))
    checks += [Check("images", "look", line.strip()) for line in others]
    if broken:
        checks.append(
            Check("images", "look", f"{broken:,} cannot be read; skip_broken = true leaves them out of the run")
        )
    return found["used"], broken


def _grouping(chosen: Chosen, checks: list[Check]) -> Grouping | None:
    data, source = DataConfig.model_validate(chosen.document["data"]), chosen.source
    if data.group is not None:
        groups = len({item.group for item in source.items})
        checks.append(Check("groups", "ok", f"{data.group!r} makes {groups:,} groups; each stays in one split"))
        return None
    fractions = [
        share
        for share, own in ((data.search_fraction, source.search_items), (data.test_fraction, source.test_items))
        if not own
    ]
    if source.kind != "files" or not fractions:
        return None
    found = proposed_grouping(source.items, fractions, source.classes)
    if found is not None:
        checks.append(
            Check(
                "groups",
                "look",
                f"{found.pattern!r} would make {found.groups:,} groups by file name, the largest {found.largest!r} with"
                f" {found.size:,}; if those show one person, plant or machine each, say --group {found.pattern!r}",
            )
        )
    return found


def _start(chosen: Chosen) -> list[Check]:
    """Where the weights come from; raises where they cannot be had."""
    name = chosen.document["train"]["start"]
    if name == "none":
        return [Check("start", "look", chosen.start.removeprefix("start: "))]
    from pipeline.weights.sources import open_weights

    about = open_weights(name).provenance
    return [Check("start", "ok", f"{about.name}, published weights from {about.source} ({about.licence})")]


def _table(chosen: Chosen, checks: list[Check]) -> LatencyTable | None:
    """The latency table that was named; None where the device will be measured, which then has to answer."""
    from latency_tables.classifiers import with_interpolated_classifiers

    device = chosen.document["device"]
    blocks = chosen.space.distinct_blocks()
    if (named := device.get("table")) is not None:
        table = load_table(named)
        filled = with_interpolated_classifiers(table, blocks)
        if missing := filled.missing(blocks):
            raise MissingRows(table.device.name, missing)
        notes = filled.provenance.notes[len(table.provenance.notes) :]
        checks.append(Check("device", "ok", f"table of {table.device.name!r} has all {len(blocks):,} blocks"))
        checks.extend(Check("device", "look", note) for note in notes)
        return filled
    name = device.get("name", "host")
    if needs_a_person(name):
        told = f"{name}: somebody opens its page when the run begins; measure a table first, and give --table"
        checks.append(Check("device", "look", told))
        return None
    here = open_runner(name, DeviceOptions()).describe()
    told = f"{here.name} answers; {len(blocks):,} blocks are measured on it when the run begins"
    checks.append(Check("device", "ok", told))
    return None


def _costs(
    chosen: Chosen, budget: Budget, table: LatencyTable | None, checks: list[Check]
) -> dict[str, tuple[float, float, float]]:
    """What random networks cost; raises InfeasibleBudget where none fits."""
    from pipeline.search.costs import space_costs

    tables = {} if table is None else {table.device.name: table}
    known = budget if table is not None else Budget(None, budget.macs, budget.params, budget.size_mb)
    costs = space_costs(chosen.space, known, tables)
    costs.ensure_reachable()
    codes = Codes(chosen.space).sample(_DRAWS, np.random.default_rng(0))
    if limits := [_told(limit) for limit in known.limits()]:
        share = float(costs.feasible(codes).mean())
        binds = "; it binds nothing" if share == 1 else "; few are left to choose from" if share < 0.001 else ""
        inside = f"{', '.join(limits)}: {share:.1%} of random networks are inside{binds}"
        checks.append(Check("budget", "look" if binds else "ok", inside))
    if budget.latency_ms is not None and table is None:
        told = f"latency_ms <= {budget.latency_ms:g}: whether it can be kept is known once the device is measured"
        checks.append(Check("budget", "look", told))
    if not budget.limits():
        checks.append(Check("budget", "look", "none: nothing limits the network; its lines in the file show the range"))
    values = costs.values(codes)
    return {name: _range(of) for name, of in values.items()}


def _told(limit: Limit) -> str:
    counted = limit.name in ("macs", "params")
    return f"{limit.name} <= {limit.limit / 1e6:.4g}M" if counted else f"{limit.name} <= {limit.limit:g}"


def _range(values: "np.ndarray[Any, np.dtype[np.float64]]") -> tuple[float, float, float]:
    least, middle, most = np.quantile(values, _QUANTILES)
    return float(least), float(middle), float(most)


def _time(chosen: Chosen) -> Check:
    given = chosen.document["train"].get("minutes", chosen.document["train"].get("cpu_minutes"))
    if chosen.least_minutes > given:
        wanted = f"about {chosen.least_minutes:.0f} minutes or more suit"
        return Check("time", "look", f"{chosen.time}; {wanted} {len(chosen.source.items):,} pictures here (--minutes)")
    return Check("time", "ok", f"{chosen.time} for the whole run; lengths of training follow from it")
