"""A disk that fills up at random moments of every stage (a tmpfs of its own, so it takes root to mount it).

    python -m benchmarks.faults.disks --results faults.jsonl [--faults 24] [--seed 0] [--minutes 15]

A file takes all room but up to 64 KiB, so that writes fail in their middle too. The command must end with exit code 2
and one line that says why; with the file removed the same command goes on.
"""

import random
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.faults.process import Command
from benchmarks.faults.rounds import Harm, rounds_of

_MEGABYTES = 64


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of 64 MB."""
    with tempfile.TemporaryDirectory(prefix="pocketnas-disk-") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_MEGABYTES}m", "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def strike(command: Command, run: Path, rng: random.Random) -> tuple[str, list[str]]:
    """Fill the disk, wait for the end, and make room again."""
    left, filler = rng.choice((0, 4096, 16384, 65536)), run.parent / "filler"
    filler.write_bytes(bytes(left))
    with filler.open("ab", buffering=0) as stream, _until_full():
        while True:
            stream.write(bytes(1 << 16))
    with filler.open("rb+") as stream:
        stream.truncate(filler.stat().st_size - left)
    code = command.wait()
    filler.unlink()
    said = command.said().strip().splitlines() or [""]
    if code == 0:
        return f"{left} bytes left, and what was to be written fitted", []
    broke = [] if code == 2 else [f"exit code {code}"]
    if code == 2 and "no space left" not in said[-1].lower() and "no room left" not in said[-1].lower():
        broke.append(f"it said {said[-1]!r}")
    if "Traceback" in command.said():
        broke.append("a traceback")
    return f"{left} bytes left", broke


@contextmanager
def _until_full() -> Iterator[None]:
    try:
        yield
    except OSError:
        return


if __name__ == "__main__":
    rounds_of(Harm("disk full", strike, small_disk), __doc__, faults=24)
