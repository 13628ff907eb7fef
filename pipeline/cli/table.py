"""`pocketnas table`: look at latency tables, compare them, import them, and ask them."""

import random
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.output import emit, example, note
from pipeline.cli.profile import refuse_foreign, render_summary, table_summary
from pipeline.cli.progress import progress_bar
from pipeline.errors import PipelineError

table_app = typer.Typer(help="Look at latency tables, compare them, import them, and ask them.", no_args_is_help=True)

TableName = Annotated[str, typer.Argument(metavar="TABLE", help="A table file, or the name of a shipped one.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@table_app.command("show", epilog=example("table show pi.json"))
def show(
    table: TableName, rows: Annotated[bool, typer.Option(help="List every row.")] = False, as_json: AsJson = False
) -> None:
    """What device a table is of, how it was measured, and how far it can be trusted."""
    from latency_tables.store import load_table

    found = load_table(table)
    listed = {key: row.model_dump() for key, row in sorted(found.rows.items())}

    def render(console: Console) -> None:
        render_summary(console, found)
        for text in found.provenance.notes:
            console.print(f"  {text}")
        if rows:
            drawn = Table("block", "alone ms", "in a network ms", "spread %", "")
            for key, row in sorted(found.rows.items()):
                flag = "unstable" if row.unstable else ""
                drawn.add_row(key, f"{row.median_ms:.4f}", f"{row.network_ms:.4f}", f"{row.spread_percent:.1f}", flag)
            console.print(drawn)

    emit(table_summary(found) | ({"blocks": listed} if rows else {}), as_json, render)


@table_app.command("predict", epilog=example("table predict pi.json ofa-mbv3-1.0 random:7"))
def predict(
    table: TableName,
    space: Annotated[str, typer.Argument(metavar="SPACE", help="A preset name or a TOML file.")],
    arch: Annotated[
        str, typer.Argument(metavar="ARCH", help="max, min, base, random:SEED, an architecture, or OFA-style JSON.")
    ],
    classes: Annotated[int | None, typer.Option(min=2, help="Classes, where not the space's own.")] = None,
    as_json: AsJson = False,
) -> None:
    """The latency of one network in milliseconds, with the interval that held 95 % of measured networks."""
    from latency_tables.blocks import total_macs, total_params
    from latency_tables.classifiers import with_interpolated_classifiers
    from latency_tables.store import load_table
    from pipeline.spaces.files import load_space
    from pipeline.spaces.named import resolve_architecture

    found, measured = load_space(space), load_table(table)
    if classes is not None:
        found = found.with_classes(classes)
    chosen = resolve_architecture(found, arch)
    blocks = found.blocks(chosen)
    loaded = with_interpolated_classifiers(measured, blocks)
    notes = loaded.provenance.notes[len(measured.provenance.notes) :]
    predicted = loaded.predict(blocks)
    known = predicted.low_ms is not None and predicted.high_ms is not None
    document = {
        "arch": str(chosen),
        "latency_ms": predicted.latency_ms,
        "interval_ms": [predicted.low_ms, predicted.high_ms] if known else None,
        "macs": total_macs(blocks),
        "params": total_params(blocks),
        "notes": notes,
    }

    def render(console: Console) -> None:
        for text in notes:
            console.print(text)
        interval = f"{predicted.low_ms:.3f} to {predicted.high_ms:.3f} ms" if known else "interval not known"
        console.print(f"{predicted.latency_ms:.3f} ms ({interval}) on {loaded.device.name}")
        console.print(f"{document['macs']:,} MACs, {document['params']:,} parameters: {chosen}")

    emit(document, as_json, render)


@table_app.command("validate", epilog=example("table validate laptop.json ofa-mbv3-1.0 --models 30"))
def validate(
    table: TableName,
    space: Annotated[str, typer.Argument(metavar="SPACE", help="A preset name or a TOML file.")],
    models: Annotated[int, typer.Option(min=2, help="How many random networks to measure now.")] = 30,
    device: Annotated[str, typer.Option(help="Where to measure: host, web, ssh://user@board, …")] = "host",
    quick: Annotated[bool, typer.Option(help="One short look: a tenth of the time, and more noise.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the networks; another one than the table was made with.")] = 1,
    ort_web: Annotated[
        Path | None, typer.Option(help="With --device web: an unpacked npm package onnxruntime-web.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="With --device web: where its page is served.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure whole random networks now and compare them with what the table predicts."""
    from latency_tables.devices.registry import opened_runner
    from latency_tables.devices.runner import DeviceOptions
    from latency_tables.measure import MeasureOptions
    from latency_tables.store import load_table
    from latency_tables.table import read_precision
    from pipeline.profiling import random_networks, validate_table
    from pipeline.spaces.files import load_space

    found, loaded = load_space(space), load_table(table)
    options_there = DeviceOptions(loaded.device.threads, read_precision(loaded.device.precision), listen, ort_web)
    archs = random_networks(found, models, random.Random(seed))
    with opened_runner(device, options_there) as runner, progress_bar() as progress:
        options = MeasureOptions.quick(seed) if quick else MeasureOptions(seed=seed)
        result = validate_table(loaded, found, archs, runner, options, progress)
    if result.device_differs:
        note(f"careful: the table is of another device or runtime: {result.device_differs}")
    if abs(result.slower_percent) > 5:
        note(f"careful: the machine is now {result.slower_percent:+.0f} % slower than when the table was measured")
    error = result.error
    worst = result.worst
    document = {
        "n": error.networks,
        "mape": error.mape_percent,
        "spearman": error.spearman,
        "within_5_percent": error.within_5_percent,
        "within_10_percent": error.within_10_percent,
        "rmse_ms": error.rmse_ms,
        "worst_under_percent": error.worst_under_percent,
        "in_interval": result.in_interval,
        "slower_percent": result.slower_percent,
        "worst": {"arch": str(worst[0]), "predicted_ms": worst[1], "measured_ms": worst[2]},
    }

    def render(console: Console) -> None:
        console.print(
            f"{error.networks} networks: MAPE {error.mape_percent:.2f} %, Spearman {error.spearman:.4f}, "
            f"{error.within_5_percent:.1%} within 5 %, {error.within_10_percent:.1%} within 10 %"
        )
        console.print(f"worst: predicted {worst[1]:.3f} ms, measured {worst[2]:.3f} ms: {worst[0]}")

    emit(document, as_json, render)


@table_app.command("diff", epilog=example("table diff before.json after.json"))
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A table file, or the name of a shipped one.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The table to compare it with.")],
    as_json: AsJson = False,
) -> None:
    """Which blocks are slower or faster in table B than in A, by how much, beyond noise."""
    from latency_tables.compare import compare
    from latency_tables.store import load_table

    result = compare(load_table(before), load_table(after))
    document = {
        "changed": [
            {
                "block": change.key,
                "before_ms": change.before_ms,
                "after_ms": change.after_ms,
                "percent": round(change.percent, 2),
                "noise_percent": round(change.noise_percent, 2),
            }
            for change in result.changed
        ],
        "unchanged": result.unchanged,
        "median_percent": None if result.median_percent is None else round(result.median_percent, 2),
        "only_in_a": list(result.only_before),
        "only_in_b": list(result.only_after),
        "device_differs": result.device_differs,
    }

    def render(console: Console) -> None:
        if result.device_differs:
            console.print(f"the devices differ: {result.device_differs}")
        if result.median_percent is None:
            only = f"{len(result.only_before)} are only in A, {len(result.only_after)} only in B"
            console.print(f"the tables have no row in common: {only}")
            return
        slower = sum(change.percent > 0 for change in result.changed)
        console.print(
            f"{slower} slower, {len(result.changed) - slower} faster, {result.unchanged} unchanged beyond noise; "
            f"half of the rows changed by more than {result.median_percent:+.1f} %"
        )
        drawn = Table("block", "A ms", "B ms", "change %", "noise %")
        for c in result.changed:
            drawn.add_row(
                c.key, f"{c.before_ms:.4f}", f"{c.after_ms:.4f}", f"{c.percent:+.1f}", f"{c.noise_percent:.1f}"
            )
        if result.changed:
            console.print(drawn)
        for name, keys in (("A", result.only_before), ("B", result.only_after)):
            if keys:
                console.print(f"{len(keys)} row(s) only in {name}")

    emit(document, as_json, render)


@table_app.command("import", epilog=example("table import lookup_table.txt --format fbnet --device s8 --out s8.json"))
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="What was published; several are resolutions.")],
    device: Annotated[str, typer.Option(help="What the table is of.")],
    out: Annotated[Path, typer.Option(help="The table to write, a JSON file.")],
    table_format: Annotated[
        str, typer.Option("--format", help="Needed: ofa, proxylessnas, fbnet; or networks, a CSV with arch and ms.")
    ] = "",
    space: Annotated[
        str | None, typer.Option(help="With --format networks: the space whose networks the CSV lists.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a table from measurements that others published."""
    from latency_tables.importers.registry import IMPORTERS, import_table
    from latency_tables.store import save_table

    formats = (*IMPORTERS, "networks")
    if table_format not in formats:
        raise PipelineError(f"--format {table_format!r} is no format of tables; accepted are {', '.join(formats)}")
    if space is not None and table_format != "networks":
        raise PipelineError(f"--space {space!r} is for --format networks; a published table of blocks has its own")
    refuse_foreign(out)
    left_out = 0
    if table_format == "networks":
        from latency_tables.regression import table_from_networks
        from pipeline.profiling import read_networks
        from pipeline.spaces.files import load_space

        if space is None or len(files) != 1:
            raise typer.BadParameter("--format networks needs one CSV and --space SPACE")
        measured = read_networks(files[0], load_space(space))
        table = table_from_networks(measured, device, f"regression on {files[0].name}")
    else:
        table, left_out = import_table(files, table_format, device)
    save_table(table, out)
    document = table_summary(table) | {"left_out": left_out}

    def render(console: Console) -> None:
        console.print(f"{out}: {len(table.rows)} rows of {device}, {left_out} published entries left out")
        for text in table.provenance.notes:
            console.print(f"  {text}")

    emit(document, as_json, render)
