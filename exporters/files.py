"""Writing and hashing files and folders (a Core ML package is one) so that nobody meets half of one."""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from exporters.errors import NotWritten

STAGING: Final = ".export-"
SCRATCH: Final = "pocketnas-scratch-"
ALIVE: Final = "alive.lock"
YOUNG_S: Final = 60.0  # a folder may be so old before its lock is looked for


@contextmanager
def staging_folder(out_dir: Path) -> Iterator[Path]:
    """A temporary folder inside `out_dir` (so that a rename stays on one file system), gone at the end.

    Such folders of processes that were killed are removed first. Raises NotWritten where the folder cannot be
    written or the disk fills up while the body runs; folders that this call had to create are removed again
    when they stayed empty.
    """
    created = [folder for folder in (out_dir, *out_dir.parents) if not folder.exists()]
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, created)
        try:
            out_dir.mkdir(parents=True, exist_ok=True)
            staging = stack.enter_context(_held_folder(out_dir, STAGING))
        except OSError as error:
            raise NotWritten(f"cannot write into {out_dir}: {error.strerror}; choose another folder") from error
        try:
            yield staging
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise NotWritten(f"no room left for {out_dir}: {error.strerror}; nothing was kept") from error
            raise


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in the system's temporary one, gone at the end; those of killed processes are removed first."""
    with _held_folder(Path(tempfile.gettempdir()), SCRATCH) as folder:
        yield folder


@contextmanager
def _held_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `parent`, told to be in use by a lock; what is there without one is removed first."""
    _remove_abandoned(parent, prefix)
    held = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
    try:
        with (held / ALIVE).open("w") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX)
            yield held
    finally:
        # The lock last: without one a folder that a kill leaves half removed would pass for a new one.
        for inside in held.iterdir():
            if inside.is_dir():
                shutil.rmtree(inside, ignore_errors=True)
        shutil.rmtree(held, ignore_errors=True)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _remove_abandoned(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # of another one who removes it too
            # Others may write to the system's temporary folder.
            ours = folder.lstat().st_uid == os.getuid() and not folder.is_symlink()
            if ours and folder.is_dir() and not _in_use(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _in_use(staging: Path) -> bool:
    """Whether a living process holds it: the system lets go of a lock however its holder ends."""
    try:
        with (staging / ALIVE).open("r+") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return staging.exists() and time.time() - staging.stat().st_mtime < YOUNG_S
    except BlockingIOError:
        return True


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[Path]:
    """Makes `folder`, which Python and the programs that it starts use for temporary files meanwhile.

    Converters leave theirs to the system's folder, where a kill would leave them for ever.
    """
    folder.mkdir()
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = before
        if variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = variable


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
