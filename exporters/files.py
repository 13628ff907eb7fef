"""Writing and hashing files and folders (a Core ML package is one) so that nobody meets half of one."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exporters.errors import NotWritten


@contextmanager
def staging_folder(out_dir: Path) -> Iterator[Path]:
    """A temporary folder inside `out_dir` (so that a rename stays on one file system), gone at the end.

    Raises NotWritten where the folder cannot be written or the disk fills up while the body runs;
    folders that this call had to create are removed again when they stayed empty.
    """
    created = [folder for folder in (out_dir, *out_dir.parents) if not folder.exists()]
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=out_dir, prefix=".export-"))
    except OSError as error:
        raise NotWritten(f"cannot write into {out_dir}: {error.strerror}; choose another folder") from error
    try:
        yield staging
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise NotWritten(f"no room left for {out_dir}: {error.strerror}; nothing was kept") from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for folder in created:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def sync(path: Path) -> None:
    """Flush the file, or every file of the folder, to the disk."""
    for file in _files(path):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def publish(staged: Path, final: Path) -> None:
    """Give the finished `staged` file or folder its final name, replacing what was there.

    A file is replaced in one step. A folder cannot be: the old one is moved aside first.
    """
    sync(staged)
    if final.is_dir():
        aside = Path(tempfile.mkdtemp(dir=staged.parent)) / final.name
        final.replace(aside)
    staged.replace(final)


def remove(path: Path) -> None:
    """Delete the file or folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def write_json(path: Path, document: Any) -> None:
    """Write `document` with sorted keys, one entry a line, no NaN, under a temporary name first."""
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write((text + "\n").encode())
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sha256(path: Path) -> str:
    """Of a file, its SHA-256; of a folder, that of the lines `<sha256>  <relative path>`, sorted by path."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    lines = [f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in _files(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def size_bytes(path: Path) -> int:
    """Of a file, or of all files of a folder together."""
    return sum(file.stat().st_size for file in _files(path))


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
