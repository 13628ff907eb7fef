"""Converters talk a lot; standard output belongs to the caller's document."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing of a tool's warnings, log lines, prints and progress bars, not its C++ side's either.

    Its exceptions pass.
    """
    level = logging.root.manager.disable
    nowhere = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(nowhere),
        contextlib.redirect_stdout(nowhere),
        _closed_descriptors(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(level)


@contextlib.contextmanager
def _closed_descriptors() -> Iterator[None]:
    """The process's own standard output and error lead nowhere meanwhile."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    with contextlib.ExitStack() as stack, Path(os.devnull).open("wb") as nowhere:
        for descriptor in (1, 2):
            try:
                kept = os.dup(descriptor)
            except OSError:  # a process may have been started without them
                continue
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, descriptor)
            os.dup2(nowhere.fileno(), descriptor)
        yield


def first_line(error: BaseException) -> str:
    """What a tool's exception says, in one line that names at least its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
