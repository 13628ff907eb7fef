"""`pocketnas quickstart`, `pocketnas run` and the commands that run one stage."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import (
    Again,
    Device,
    Group,
    Json,
    LatencyMs,
    Macs,
    Minutes,
    Out,
    Params,
    Renew,
    RunDir,
    Seed,
    SizeMb,
    Space,
    Start,
    Table,
)
from pipeline.cli.output import emit, note
from pipeline.cli.progress import progress_bar
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.runs.config import Config
    from pipeline.runs.options import Options
    from pipeline.runs.run import Run

STORAGE_VARIABLE = "POCKETNAS_STORAGE"  # so that a password stands in no command line and no file


def quickstart(
    out: Out,
    seed: Seed = None,
    table: Annotated[
        str | None, typer.Option("--table", help="Use this latency table instead of measuring this machine.")
    ] = None,
    again: Renew = False,
    as_json: Json = False,
) -> None:
    """Run everything on embedded handwritten digits and this machine's CPU, in under 4 minutes on 2 cores."""
    from pipeline.runs.quickstart import quickstart_config

    _run(lambda: quickstart_config(seed or 0, table), out, as_json, again)


def run(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG.toml|FOLDER", help="A configuration, or images in a folder for each class.")
    ],
    out: Out,
    data: Annotated[
        str | None, typer.Option("--data", help="Images, instead of the configuration's \\[data] path.")
    ] = None,
    group: Group = None,
    latency_ms: LatencyMs = None,
    macs: Macs = None,
    params: Params = None,
    size_mb: SizeMb = None,
    table: Table = None,
    device: Device = None,
    space: Space = None,
    start: Start = None,
    minutes: Minutes = None,
    seed: Seed = None,
    again: Renew = False,
    as_json: Json = False,
) -> None:
    """From your images, a device and a budget to a checked file. Killed or stopped, the same command continues.

    Without a configuration its keys are chosen from the images and this machine. Every option is a key of it.
    """
    from pipeline.runs.options import Options

    options = Options(data, group, space, device, table, latency_ms, macs, params, size_mb, start, minutes, seed)
    _run(lambda: _configuration(config, options), out, as_json, again)


def _configuration(config: str, options: "Options") -> "Config":
    """That of a file, or chosen for a folder of images; what was chosen is told."""
    from pipeline.process import first_process
    from pipeline.runs.automatic import automatic_config, is_data
    from pipeline.runs.config_file import read_config

    if not is_data(config):
        return read_config(Path(config), options)
    if options.data is not None:
        raise PipelineError(
            f"--data {options.data!r} replaces the images of a configuration; {config!r} are images already"
        )
    chosen, lines = automatic_config(replace(options, data=config))
    if first_process():
        for line in lines:
            note(line)
    return chosen


def stage_command(name: str, help_text: str) -> Callable[..., None]:
    """The command that runs the stage `name` of a run."""

    def command(run_dir: RunDir, again: Again = False, as_json: Json = False) -> None:
        from pipeline.runs.run import Run

        _run_one(Run.open(run_dir), name, again, as_json)

    command.__doc__ = help_text
    return command


def stage(
    name: Annotated[
        str,
        typer.Argument(metavar="STAGE", help="data, profile, train, split, search, finetune, export, check, report."),
    ],
    run_dir: RunDir,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Run any one stage of a run; with --again it starts from nothing."""
    from pipeline.runs.run import Run

    _run_one(Run.open(run_dir), name, again, as_json)


def search(
    run_dir: RunDir,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes that judge together.")] = None,
    storage: Annotated[
        str | None,
        typer.Option("--storage", help="Optuna URL that machines share, such as postgresql://…; or POCKETNAS_STORAGE."),
    ] = None,
    compare: Annotated[
        str | None, typer.Option("--compare", help="Compare these methods instead: guided,tpe,random.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Searches per compared method.")] = 5,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Search a run's regions under its budget; several workers or machines may share one study."""
    from pipeline.runs.folder import open_run
    from pipeline.runs.run import Run
    from pipeline.search.storage import open_storage

    storage = storage or os.environ.get(STORAGE_VARIABLE)
    if storage is not None:
        storage = _url(storage)
    folder = open_run(run_dir)
    if compare is not None:
        from pipeline.cli.search_compare import search_compare

        search_compare(Run(folder), compare, seeds, as_json)
        return
    if storage is not None:
        # An address that does not answer is found out before anything of an old search is removed.
        open_storage(storage)
    given = {key: value for key, value in (("workers", workers), ("storage", storage)) if value is not None}
    table = folder.config.search.model_copy(update=given)
    run = Run(replace(folder, config=folder.config.model_copy(update={"search": table})))
    _run_one(run, "search", again, as_json)


def _run_one(run: "Run", name: str, again: bool, as_json: bool) -> None:
    from pipeline.runs.engine import require_finished, run_stage
    from pipeline.runs.run import Run
    from pipeline.runs.stages import STAGES
    from pipeline.runs.torchrun import led_by_first

    led = led_by_first(run.path, lambda: run.config)
    with _followers_leave(), led as (team, _), run.folder.lock(), progress_bar() as progress:
        stage = require_finished(run.folder, STAGES, name)
        done = run_stage(Run(run.folder, team), stage, progress, again)
    document = {"stage": name, "seconds": round(done.seconds, 3), "ran_now": done.ran_now}
    text = f"{name}: {'done' if done.ran_now else 'had finished'}, {done.seconds:.1f} s"
    emit(document, as_json, lambda console: console.print(text))


def _run(configured: "Callable[[], Config]", out: Path, as_json: bool, renew: bool) -> None:
    from pipeline.runs.summary import render_summary, summary_document
    from pipeline.runs.torchrun import led_by_first
    from pipeline.runs.whole import run_all

    began = time.perf_counter()
    with (
        _followers_leave(),
        led_by_first(out, lambda: _with_storage(configured())) as (team, config),
        progress_bar() as progress,
    ):
        run, summary = run_all(config, out, progress, renew, team, began)
    document = summary_document(run.folder, summary)
    emit(document, as_json, lambda console: render_summary(console, run.folder, summary))
    if not summary.check.passed:
        raise typer.Exit(1)


def _with_storage(config: "Config") -> "Config":
    """With the address in the environment where the configuration has none; it is never written to the folder."""
    address = os.environ.get(STORAGE_VARIABLE)
    if not address or config.search.storage is not None:
        return config
    return config.model_copy(update={"search": config.search.model_copy(update={"storage": _url(address)})})


def _url(address: str) -> str:
    from pipeline.search.storage import is_url

    if not is_url(address):
        raise PipelineError(f"--storage or {STORAGE_VARIABLE} is no Optuna URL; one is postgresql://host/db")
    return address


@contextmanager
def _followers_leave() -> Iterator[None]:
    """Under `torchrun`: processes other than the first one end here, in silence."""
    from pipeline.runs.torchrun import Followed

    try:
        yield
    except Followed as followed:
        raise typer.Exit(2 if followed.failed else 0) from None
