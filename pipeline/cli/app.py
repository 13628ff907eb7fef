"""The command `pocketnas`: registration of every command, and the one place where errors become exit codes."""

import contextlib
import errno
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from exporters.errors import ExportError
from latency_tables.errors import TableError
from pipeline import foreign
from pipeline.cli import check, compress, export, init, predict, profile, rank, run, space, specialise, track
from pipeline.cli.output import example
from pipeline.cli.start import ON_INTERRUPT
from pipeline.cli.start import main as main  # what the scripts of earlier installations call
from pipeline.cli.table import table_app
from pipeline.cli.weights import weights_app
from pipeline.errors import PipelineError
from pipeline.process import first_process, under_torchrun

app = typer.Typer(
    name="pocketnas",
    help="The best network for your images that answers in time on your phone, as a file, with the proof.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
_START, _MEASURE, _SEARCH = "Start here", "Measure devices", "Search, stage by stage"
_USE, _GATE = "Use what was found", "Check in CI"
_stage = run.stage_command
# Name, panel of `pocketnas --help`, function, example.
_COMMANDS: Final[tuple[tuple[str, str, Callable[..., None], str], ...]] = (
    ("quickstart", _START, run.quickstart, "--out runs/quickstart"),
    ("init", _START, init.init, "photos --macs 33M --minutes 10"),
    ("run", _START, run.run, "photos --out runs/photos --macs 33M --minutes 10"),
    ("specialise", _START, specialise.specialise, "runs/mine --out runs/tight --latency-ms 5"),
    ("profile", _MEASURE, profile.profile, "ofa-mbv3-1.0 --device ssh://pi@raspberrypi --out pi.json"),
    ("space", _SEARCH, space.space, "ofa-mbv3-1.0 random:7"),
    ("train", _SEARCH, _stage("train", "Train the supernet of a run."), "runs/mine"),
    (
        "split",
        _SEARCH,
        _stage("split", "Divide a run's space and train a sub-supernet for each region."),
        "runs/mine --again",
    ),
    ("search", _SEARCH, run.search, "runs/mine --workers 4"),
    ("front", _SEARCH, specialise.front, "runs/mine"),
    ("rank", _SEARCH, rank.rank, "results.csv --truth accuracy --proxy oneshot --proxy macs"),
    (
        "finetune",
        _SEARCH,
        _stage("finetune", "Train a run's best candidates and its random baseline."),
        "runs/mine --again",
    ),
    ("stage", _SEARCH, run.stage, "export runs/mine --again"),
    ("export", _USE, export.export, "runs/mine --to onnx-int8,coreml-fp16"),
    ("predict", _USE, predict.predict, "runs/mine photo.jpg other.png"),
    ("compress", _USE, compress.compress, "runs/mine --out runs/mine-small --macs 20M"),
    ("track", _USE, track.track, "runs/mine --tensorboard boards/mine"),
    ("report", _USE, _stage("report", "Write a run's report page."), "runs/mine"),
    ("check", _GATE, check.check, "model.onnx --budget budget.toml --table phone.json"),
)
for _name, _panel, _function, _example in _COMMANDS:
    app.command(_name, rich_help_panel=_panel, epilog=example(f"{_name} {_example}"))(_function)
app.add_typer(weights_app, name="weights", rich_help_panel=_START)
app.add_typer(table_app, name="table", rich_help_panel=_MEASURE)

# Typer shows only the leaves of its exceptions; this is the base of all that a wrong command line raises.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        try:
            version = metadata.version("pocketnas")
        except metadata.PackageNotFoundError:
            version = "of a checkout that is not installed"
        typer.echo(f"pocketnas {version}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The best network for your images that answers in time on your phone, as a file, with the proof."""
    if context.invoked_subcommand not in _SHARED and under_torchrun():
        raise PipelineError(
            f"'pocketnas {context.invoked_subcommand}' is done by one process; torchrun starts {', '.join(_SHARED)}"
        )


_SHARED: Final = ("run", "quickstart", "stage", "train", "split", "search", "finetune", "report")
_INTERRUPTED = 130  # what Typer makes of Ctrl-C


def run_command(argv: list[str]) -> int:
    """Run one command; 0 done or passed, 1 budget violated, 2 could not run, 3 could not measure.

    An error is one line on stderr; `--debug` anywhere adds the traceback.
    """
    debug = "--debug" in argv
    argv = [word for word in argv if word != "--debug"]
    try:
        result = app(argv, prog_name="pocketnas", standalone_mode=False)
        if result == _INTERRUPTED:
            return _fail(ON_INTERRUPT, 2, debug)
        return result if isinstance(result, int) else 0
    except (TableError, ExportError, PipelineError) as error:
        return _fail(str(error), error.exit_code, debug)
    except _UsageError as error:
        return _fail(_usage(error), 2, debug)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(ON_INTERRUPT, 2, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except OSError as error:
        return _fail(_trouble(error), 2, debug)
    except Exception as error:  # whatever else: one line still, and no half-told story
        return _fail(f"internal error: {type(error).__name__}: {error}; --debug shows where", 2, debug)


def _trouble(error: OSError) -> str:
    """What the system refused, and of which file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "no space left on the disk; free some and run the same command again"
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{str(error.filename)!r}: {error.strerror}"


def _usage(error: Exception) -> str:
    """What is wrong with the command line, with the option or argument that it is about."""
    explain, context = getattr(error, "format_message", None), getattr(error, "ctx", None)
    message = str(error if explain is None else explain()).rstrip(".")
    command = "pocketnas" if context is None else context.command_path
    return f"{message} ('{command} --help' tells more)" if message else "name a command"


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    line = foreign.terminal(" ".join(message.split()))
    if first_process():
        typer.echo(f"pocketnas: {line}", err=True)
    _tell_launcher(line)
    return code


def _tell_launcher(line: str) -> None:
    """Under `torchrun`: let its own report, which ends the output, name the error instead of asking for tracebacks."""
    if (file := os.environ.get("TORCHELASTIC_ERROR_FILE")) is not None:
        with contextlib.suppress(OSError):
            error = {"message": line, "extraInfo": {"timestamp": str(int(time.time()))}}
            Path(file).write_text(json.dumps({"message": error}), encoding="utf-8")
