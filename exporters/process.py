"""Native code in a process of its own: files from elsewhere can make it crash, hang or fill the memory.

The process reads a job from standard input, calls the function `answer(job, inputs)` of a worker module, and writes
what that returns to standard output: one line of JSON, then the array as .npy.
"""

import ctypes
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from exporters.request import Array

PROGRAM: Final = "import sys; from exporters.process import main; main(sys.argv[1])"
DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds of the clock, and bytes of its own memory (None: all there is) that a worker may take."""

    seconds: float
    memory_bytes: int | None = None


class WorkerDied(Exception):
    """A worker ended, or was ended, without an answer; the message says how, as in "the worker …", in one line."""


def ask(worker: str, job: Mapping[str, Any], limits: Limits, inputs: Array | None = None) -> tuple[Any, Array | None]:
    """What the module `worker`'s `answer(job, inputs)` returns in a process of its own; WorkerDied where nothing."""
    # -P: a folder called `exporters` where the user stands is not ours.
    command = [sys.executable, "-P", "-c", PROGRAM, worker]
    python_path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    given = _packed({"job": dict(job), "memory_bytes": limits.memory_bytes}, inputs)
    # What a worker leaves behind when it dies goes with this folder.
    with tempfile.TemporaryDirectory(prefix="pocketnas-", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "PYTHONPATH": python_path, "TMPDIR": folder}
        try:
            done = subprocess.run(command, input=given, capture_output=True, timeout=limits.seconds, env=environment)
        except subprocess.TimeoutExpired:
            raise WorkerDied(f"gave no answer within {limits.seconds:.0f} s") from None
    if done.returncode == 0:
        try:
            return _unpacked(io.BytesIO(done.stdout))
        except ValueError:
            raise WorkerDied("ended without an answer") from None
    said = done.stderr.decode(errors="replace").strip().splitlines()
    lines = ["".join(letter if letter.isprintable() else " " for letter in line) for line in said]
    if done.returncode < 0:
        how, told = f"signal {-done.returncode}", lines[-3:]
    else:
        how, told = f"exit code {done.returncode}", lines[-1:]  # above it stands the way to there
    raise WorkerDied(f"ended with {how}: {' | '.join(told)[-400:] or 'it said nothing'}")


def _packed(document: Any, array: Array | None) -> bytes:
    stream = io.BytesIO()
    stream.write(json.dumps([document, array is not None]).encode() + b"\n")
    if array is not None:
        np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _unpacked(stream: BinaryIO) -> tuple[Any, Array | None]:
    document, has_array = json.loads(stream.readline())
    return document, np.load(io.BytesIO(stream.read()), allow_pickle=False) if has_array else None


def main(worker: str) -> None:
    """Answer one job."""
    # Native code prints where it likes: to standard error from here on.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    given, inputs = _unpacked(sys.stdin.buffer)
    _limit(given["memory_bytes"])
    answer, outputs = importlib.import_module(worker).answer(given["job"], inputs)
    with answers:
        answers.write(_packed(answer, outputs))


def _limit(memory_bytes: int | None) -> None:
    """Of this process; where the system has such limits."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if memory_bytes is not None and sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
