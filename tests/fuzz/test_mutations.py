"""Damaged and hostile files of every kind end in one clear line: no other exception, no hang, no flood of memory.

POCKETNAS_MUTATIONS is how many files of each kind are tried (default 20, some seconds in all); the kinds and the
seeds are fixed, so a failure's number finds it again.
"""

import os
import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from tests.fuzz import data_files, device_files, gate_files, run_files
from tests.fuzz.kind import Kind
from tests.fuzz.mutations import mutated

COUNT = int(os.environ.get("POCKETNAS_MUTATIONS", "20"))
SECONDS, MEGABYTES = 10.0, 1000.0
KINDS = [*device_files.KINDS, *gate_files.KINDS, *data_files.KINDS, *run_files.KINDS]
_OWN = Path("/proc/self")


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _memory(name: str) -> float:
    """This process's memory in megabytes: `VmRSS`, or `VmHWM`, the most since `_forget_peak`."""
    if not (_OWN / "status").exists():  # not Linux: the most since the process began
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    line = next(line for line in (_OWN / "status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1000


def _forget_peak() -> None:
    if (_OWN / "clear_refs").exists():
        (_OWN / "clear_refs").write_text("5")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_damaged_file_is_one_line(kind: Kind, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = kind.make(tmp_path)
    good = path.read_bytes()
    assert kind.run(path) in (0, 1), capfd.readouterr().err
    for number in range(COUNT):
        path.write_bytes(mutated(good, random.Random(f"{kind.name}/{number}"), kind.syntax))
        capfd.readouterr()
        _forget_peak()
        before = _memory("VmRSS")
        with _within(SECONDS):
            code = kind.run(path)
        grown, said = _memory("VmHWM") - before, capfd.readouterr().err
        assert grown < MEGABYTES, f"{kind.name} {number} took {grown:.0f} MB more"
        assert code in (0, 1, 2, 3), f"{kind.name} {number}: exit {code}"
        assert "internal error" not in said, f"{kind.name} {number}: {said}"
        if code == 2 and kind.command is not None:
            told = [line for line in said.splitlines() if line.startswith("pocketnas: ")]
            assert len(told) == 1, f"{kind.name} {number}: {said}"
