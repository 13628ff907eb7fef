"""Bytes in and out of files: what is read is bounded, what is written is whole or not there.

`write_atomic`, `write_json` and `append_lines` write; `read_bounded` reads a file of ours or of somebody else;
`sha256_of` names what is in one. `latency_tables.documents` makes typed values of what was read. `error` is always
the class that is raised, with a message that names the file.
"""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any, Final

MOST_BYTES: Final = 64 << 20  # of a text file; the largest table of a preset space has 2 MB


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` under a temporary name beside it, flush it to the disk, then rename.

    Raises OSError with `path` as its file (no space left, read-only folder); what was there before is then unchanged.
    """
    try:
        _write_atomic(path, data)
    except OSError as error:
        # The temporary name says nothing to whoever asked for `path`.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_atomic(path: Path, data: bytes) -> None:
    with contextlib.suppress(FileExistsError):  # a file in the way is told when the file below is opened
        path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, document: Any) -> None:
    """Write `document` as JSON that diffs well: sorted keys, one entry a line, no NaN."""
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomic(path, (text + "\n").encode())


def append_lines(path: Path, data: bytes) -> None:
    """Append whole lines to `path`, beginning on a line of their own: one that a kill or a full disk cut stays a line.

    Processes may append at the same time. Raises OSError, also where `path` is a link: its target is not ours.
    """
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        size = os.fstat(handle).st_size
        cut = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, b"\n" * cut + data)
    finally:
        os.close(handle)


def read_bounded(path: Path, error: type[Exception], most_bytes: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file of at most `most_bytes`.

    Raises FileNotFoundError where there is none, and `error` for a folder, a device, a pipe, one that may not be
    read, or one that is too large (it is then not read at all).
    """
    try:
        # Not blocking: opening a named pipe would wait for somebody who writes into it.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as problem:
        raise error(f"{path} cannot be read: {getattr(problem, 'strerror', None) or problem}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise error(f"{path} is no regular file")
    with os.fdopen(handle, "rb") as stream:
        data = stream.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise error(f"{path} is larger than {most_bytes >> 20} MiB, more than any file of its kind")
    return data


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
