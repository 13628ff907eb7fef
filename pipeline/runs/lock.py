"""One process at a time works in a run's folder."""

import contextlib
import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.runs.documents.base import RunError

# What a kill leaves of a file that was being written, and of an export.
_LEFT_OVER: Final = re.compile(r"\.export-.+|\..+\.[a-z0-9_]{8}")


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the run's folder at `path` for this process. Raises RunError where another one works in it, and where it
    cannot be written to."""
    try:
        # A link that somebody put here would have its target opened for writing.
        handle = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise RunError(f"{path} cannot be written to ({error.strerror}); a run needs a folder that can") from None
        if error.errno != errno.ELOOP:
            raise
        raise RunError(f"{path / '.lock'} is a symbolic link, which no run has; remove it") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise RunError(f"another pocketnas is at work in {path}; wait for it or stop it") from None
    finally:
        os.close(handle)


def sweep(path: Path) -> None:
    """Remove what writers that were killed have left; whoever holds the lock is alone here."""
    for found in [entry for entry in path.rglob(".*") if _LEFT_OVER.fullmatch(entry.name)]:
        if found.is_dir() and not found.is_symlink():
            shutil.rmtree(found, ignore_errors=True)
        else:
            found.unlink(missing_ok=True)
