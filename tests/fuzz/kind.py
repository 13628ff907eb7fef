"""One kind of file that is mutated, and how its good ones are made."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exporters.errors import ExportError
from latency_tables.errors import TableError
from pipeline.cli.app import run_command
from pipeline.errors import PipelineError

FILES = Path(__file__).parents[1] / "gate" / "files"


@dataclass(frozen=True)
class Kind:
    """One kind of file: how a good one is made in a folder, what it consists of, and the command that reads it, or
    the function where no quick command does."""

    name: str
    syntax: str
    make: Callable[[Path], Path]
    command: Callable[[Path], list[str]] | None = None
    read: Callable[[Path], object] | None = None

    def run(self, path: Path) -> int:
        """The exit code of reading the file at `path`, as the command line ends with it."""
        if self.command is not None:
            return run_command(self.command(path))
        assert self.read is not None
        try:
            self.read(path)
        except (TableError, ExportError, PipelineError) as error:
            print(error, file=sys.stderr)
            return error.exit_code
        return 0


def text(name: str, content: str | bytes) -> Callable[[Path], Path]:
    """A maker of the file `name` with that content."""

    def make(folder: Path) -> Path:
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
        return folder / name

    return make


def copied(name: str) -> Callable[[Path], Path]:
    """A maker of one of the gate's model files; of a package it is the file inside that is mutated."""

    def make(folder: Path) -> Path:
        target = folder / name
        if (FILES / name).is_dir():
            shutil.copytree(FILES / name, target)
            return target / "Data" / "com.apple.CoreML" / "model.mlmodel"
        shutil.copy(FILES / name, target)
        return target

    return make
