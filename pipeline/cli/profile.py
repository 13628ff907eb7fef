"""`pocketnas profile`: a latency table of a space, measured on a device."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from latency_tables.errors import TableError
from pipeline.cli.output import emit, note
from pipeline.cli.progress import progress_bar
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from latency_tables.devices.runner import DeviceOptions
    from latency_tables.table import LatencyTable
    from pipeline.profiling import ProfileOptions
    from pipeline.spaces.space import SearchSpace


def profile(
    space: Annotated[str, typer.Argument(metavar="SPACE", help="A preset name or a TOML file.")],
    device: Annotated[
        str,
        typer.Option(
            help="host, host+litert, web, ssh://user@board, adb://serial, coreml://name, qai-hub://name or tensorrt. "
            "With --kit host, host+litert or coreml; with --from-kit its name."
        ),
    ] = "host",
    out: Annotated[Path | None, typer.Option(help="The table to write, a JSON file.")] = None,
    name: Annotated[str | None, typer.Option(help="What the table calls the device.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads that a network may use on the device.")] = 1,
    networks: Annotated[
        int | None,
        typer.Option(min=0, help="Whole random networks that the calibration is fitted on: 200, with --like 20."),
    ] = None,
    held_out: Annotated[
        int | None, typer.Option(min=0, help="Other ones that the error is reported on: 100, with --like 10.")
    ] = None,
    visits: Annotated[int, typer.Option(min=1, help="How often each model is measured, at different times.")] = 3,
    classes: Annotated[int | None, typer.Option(min=2, help="Classes, where not the space's own.")] = None,
    quick: Annotated[bool, typer.Option(help="One short look: a tenth of the time, several times the error.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the random networks and of the order.")] = 0,
    kit: Annotated[
        Path | None, typer.Option(help="Write a zip to carry to a device that nothing here can reach.")
    ] = None,
    from_kit: Annotated[
        Path | None,
        typer.Option(help="Make the table from the results.json that a kit wrote; --kit then names the kit."),
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(help="Measure only whole networks (10 to 50 do) and take the rest from this table."),
    ] = None,
    extend: Annotated[
        str | None, typer.Option(help="Measure only the rows that this table of the same device lacks.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="What networks are computed in on the device: fp32, fp16 or int8.")
    ] = "fp32",
    ort_web: Annotated[
        Path | None,
        typer.Option(help="With --device web: an unpacked npm package onnxruntime-web, instead of a public CDN."),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="With --device web: where its page is served; this machine only."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure the blocks of SPACE on a device, and whole networks that calibrate and judge their sums.

    A stopped measurement continues when the same command is run again.
    """
    from latency_tables.devices.kit import table_from_kit
    from latency_tables.devices.runner import DeviceOptions
    from latency_tables.measure import MeasureOptions
    from latency_tables.store import save_table
    from latency_tables.table import read_precision
    from pipeline.profiling import ProfileOptions, space_sha256
    from pipeline.spaces.files import load_space

    found = load_space(space)
    if classes is not None:
        found = found.with_classes(classes)
    measure = MeasureOptions.quick(seed) if quick else MeasureOptions(visits=visits, seed=seed)
    if out is not None:
        refuse_foreign(out)
    # Where networks cost money or somebody's minutes, none are timed that nobody asked for.
    fitted, judging = (20, 10) if like else (200, 100)
    options = ProfileOptions(
        fitted if networks is None else networks, judging if held_out is None else held_out, seed, measure
    )
    there = DeviceOptions(threads, read_precision(precision), listen, ort_web)
    if kit is not None and from_kit is None:
        models = _write_kit(kit, found, device, there, options)
        emit({"kit": str(kit), "models": models}, as_json, lambda console: _render_kit(console, kit, models))
        return
    if out is None:
        raise typer.BadParameter("--out TABLE is needed: where to write the table")
    started = time.monotonic()
    if from_kit is not None:
        table = table_from_kit(from_kit, out, space_sha256(found), kit)
        name = name or (device if device != "host" else None)
    else:
        table = _measured(found, device, there, options, out, like or [], extend)
    if name is not None:
        table = table.model_copy(update={"device": table.device.model_copy(update={"name": name})})
        save_table(table, out)
    seconds = round(time.monotonic() - started, 1)
    emit(table_summary(table) | {"seconds": seconds}, as_json, lambda console: _render(console, table, out))
    unstable = sum(row.unstable for row in table.rows.values())
    if unstable:
        note(f"{unstable} row(s) stayed unstable; a quieter or cooler device would give a better table")


def _write_kit(kit: Path, space: "SearchSpace", device: str, there: "DeviceOptions", options: "ProfileOptions") -> int:
    """Write what is carried to the device; returns how many models it has."""
    from latency_tables.devices.kit import kit_runtime, write_kit
    from pipeline.profiling import profile_plan

    plan, runtime = profile_plan(space, options), kit_runtime(device)
    with progress_bar() as progress:
        return write_kit(kit, plan, options.measure, there.threads, there.precision, runtime, progress)


def _measured(
    space: "SearchSpace",
    device: str,
    there: "DeviceOptions",
    options: "ProfileOptions",
    out: Path,
    like: list[str],
    extend: str | None,
) -> "LatencyTable":
    """A table measured now: whole, only the rows that `extend` lacks, or from whole networks and the tables `like`."""
    from latency_tables.devices.registry import opened_runner
    from latency_tables.extend import extend_table
    from latency_tables.store import load_table
    from pipeline.profiling import profile_by_transfer, profile_space, table_blocks

    with opened_runner(device, there) as runner, progress_bar() as progress:
        if extend is not None:
            return extend_table(load_table(extend), table_blocks(space), runner, out, options.measure, progress)
        if like:
            return profile_by_transfer(space, runner, out, [load_table(name) for name in like], options, progress)
        return profile_space(space, runner, out, options, progress)


def refuse_foreign(out: Path) -> None:
    """PipelineError where `out` is a file that is no latency table: it would be lost."""
    from latency_tables.store import load_table

    if not out.exists():
        return
    try:
        load_table(str(out))
    except TableError:
        raise PipelineError(f"--out {out} is there and is no latency table; choose another name") from None


def table_summary(table: "LatencyTable") -> dict[str, Any]:
    """What the commands tell of a table, as JSON."""
    return {
        "device": table.device.model_dump(),
        "rows": len(table.rows),
        "unstable_rows": sum(row.unstable for row in table.rows.values()),
        "calibration": table.calibration.model_dump(),
        "error": None if table.error is None else table.error.model_dump(),
        "provenance": table.provenance.model_dump(),
    }


def render_summary(console: Console, table: "LatencyTable") -> None:
    """The same for a person."""
    device, error = table.device, table.error
    cores = f"{device.threads} of {device.cores} core(s)" if device.cores else f"{device.threads} thread(s)"
    console.print(f"{device.name}: {device.soc}, {cores}, {device.precision}")
    console.print(f"  {device.runtime} {device.runtime_version}, {device.delegate}")
    console.print(f"  {len(table.rows)} rows, {table.provenance.source} {table.provenance.created}")
    console.print(f"  calibration {table.calibration.method!r} from {table.calibration.networks} networks")
    if error is None:
        console.print("  its error on whole networks was not measured")
        return
    console.print(
        f"  error on {error.networks} other networks: MAPE {error.mape_percent:.2f} %, Spearman {error.spearman:.4f}, "
        f"{error.within_5_percent:.1%} within 5 %, {error.within_10_percent:.1%} within 10 %"
    )
    console.print(
        f"  95 % of them took between {error.residual_low:+.1%} and {error.residual_high:+.1%} of the prediction; "
        f"worst under-prediction {error.worst_under_percent:.1f} %"
    )


def _render(console: Console, table: "LatencyTable", out: Path) -> None:
    render_summary(console, table)
    console.print(f"written to {out}")


def _render_kit(console: Console, kit: Path, models: int) -> None:
    console.print(f"{kit}: {models} models. On the device: python3 {kit.name}")
    console.print("then, here: pocketnas profile SPACE --from-kit results.json --device NAME --out TABLE")
