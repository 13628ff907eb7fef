"""Stage `profile`: what the device takes for each block, and the budget in plain numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from latency_tables.store import load_table, save_table
from latency_tables.table import LatencyTable, MissingRows
from pipeline.budget import Budget, read_budget
from pipeline.progress import Progress
from pipeline.runs.documents.base import RunError
from pipeline.runs.documents.profile import ResolvedBudget
from pipeline.runs.run import Run, costs_on
from pipeline.spaces.space import SearchSpace

SHARE_DRAWS = 20_000


def work(run: Run, progress: Progress) -> None:
    """Measure or take over the latency table, and refuse a budget that no network can keep before any training."""
    from pipeline.search.costs import space_costs

    space, folder = run.space, run.folder
    others = _other_tables(run, space)
    asked = run.config.budget.model_dump(exclude_none=True, exclude={"latency_quantile"})
    budget = read_budget(asked, f"{run.path} [budget]")
    space_costs(space, replace(budget, latency_ms=None, accuracy=None), {}).ensure_reachable()
    table = _table(run, space, progress)
    save_table(table, folder.table)
    if table.device.name in others:
        raise RunError(f"[devices.{table.device.name}] is the run's own device: its limit is [budget] latency_ms")
    for name, other in others.items():
        save_table(other, folder.other_tables / f"{name}.json")
    codes = run.codes.sample(SHARE_DRAWS, np.random.default_rng(run.config.seed))
    if (quantile := run.config.budget.latency_quantile) is not None:
        latency = space_costs(space, Budget(), {table.device.name: table})["latency_ms"]
        limit = float(np.quantile(latency.of(codes) * latency.margin, quantile))
        budget = replace(budget, latency_ms=float(f"{limit:.3g}"))
    limits = {name: other.latency_ms for name, other in run.config.devices.items()}
    costs = costs_on(space, budget, table, others, limits)
    costs.ensure_reachable()
    inside = {name: float((exceeded <= 0).mean()) for name, exceeded in costs.violations(codes).items()}
    ResolvedBudget(
        budget=budget.to_document(),
        other_devices_ms=limits,
        feasible_share=float(costs.feasible(codes).mean()),
        feasible_share_by_limit=inside,
        random_networks=SHARE_DRAWS,
    ).save(folder.budget)


def _other_tables(run: Run, space: SearchSpace) -> dict[str, LatencyTable]:
    """The tables of `[devices]`; MissingRows where one lacks blocks of the space."""
    from latency_tables.classifiers import with_interpolated_classifiers

    blocks = space.distinct_blocks()
    tables = {}
    for name, other in run.config.devices.items():
        table = with_interpolated_classifiers(load_table(other.table), blocks)
        if missing := table.missing(blocks):
            raise MissingRows(name, missing)
        tables[name] = table
    return tables


def _table(run: Run, space: SearchSpace, progress: Progress) -> LatencyTable:
    from latency_tables.classifiers import with_interpolated_classifiers
    from latency_tables.devices.registry import opened_runner
    from latency_tables.devices.runner import DeviceOptions
    from latency_tables.measure import MeasureOptions
    from pipeline.profiling import ProfileOptions, profile_space

    device = run.config.device
    if device.table is not None:
        table = load_table(device.table)
        if device.precision not in (None, table.device.precision):
            raise RunError(
                f"[device] precision is {device.precision!r}, but the table {device.table} is of "
                f"{table.device.precision!r}"
            )
        known = len(table.provenance.notes)
        table = with_interpolated_classifiers(table, space.distinct_blocks())
        for note in table.provenance.notes[known:]:
            progress(1, 1, note)
        return table
    options = ProfileOptions(
        calibration=device.networks,
        held_out=device.networks,
        seed=run.config.seed,
        measure=MeasureOptions.quick() if device.effort == "quick" else MeasureOptions(),
    )

    def told(done: int, total: int, _: str) -> None:
        progress(done, total, "profile device")

    where = None if device.ort_web is None else Path(device.ort_web)
    asked = DeviceOptions(device.threads, device.precision or "fp32", device.listen, where)
    with opened_runner(device.name, asked) as runner:
        return profile_space(space, runner, run.folder.table, options, told)
