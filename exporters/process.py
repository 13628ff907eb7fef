"""Native code in a process of its own: files from elsewhere can make it crash, hang or fill the memory.

Such a process reads jobs from standard input, calls the function `answer(job, inputs)` of a worker module for each,
and writes what that returns, a document and arrays, to standard output. A message is one line of JSON, the document
beside the sizes of the arrays, and then the arrays as .npy.
"""

import ctypes
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

import numpy as np

from exporters.files import scratch_folder
from exporters.request import Array

PROGRAM: Final = "import sys; from exporters.process import main; main(sys.argv[1])"
DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG
LONGEST_LINE: Final = 16 << 20
LAST_WORDS: Final = 4096  # bytes
GRACE_S: Final = 5  # a worker whose parent is gone ends itself so much later


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds of the clock for an answer, and bytes of its own memory (None: all there is) that a worker may take."""

    seconds: float
    memory_bytes: int | None = None


class WorkerDied(Exception):
    """A worker ended, or was ended, without an answer; the message says how, as in "the worker …", in one line."""


def ask(worker: str, job: Mapping[str, Any], limits: Limits, inputs: Array | None = None) -> tuple[Any, Array | None]:
    """What the module `worker`'s `answer(job, inputs)` returns in a process of its own; WorkerDied where nothing."""
    with Worker(worker, limits.memory_bytes, dies_with_thread=True) as process:
        answer, outputs = process.ask(job, limits.seconds, inputs)
    return answer, outputs[0] if outputs else None


class Worker:
    """A process that answers one job after the other, until it dies; the next job then starts another.

    A job must say all that its answer depends on. Threads may ask at the same time: they are answered in turn.
    Where the asking process is killed, the worker ends after its job; with `dies_with_thread`, at once, and also
    when the thread ends that asked first.
    """

    def __init__(self, module: str, memory_bytes: int | None = None, dies_with_thread: bool = False) -> None:
        self._module, self._once = module, {"memory_bytes": memory_bytes, "dies_with_thread": dies_with_thread}
        self._running: _Running | None = None
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, job: Mapping[str, Any], seconds: float, inputs: Array | None = None) -> tuple[Any, list[Array]]:
        """The document and the arrays, of any shape, of the answer; WorkerDied where none came within `seconds`."""
        arrays = [] if inputs is None else [inputs]
        with self._turn:
            if self._running is None or not self._running.answers:
                self._end()
                self._running = _Running(self._module)
            try:
                return self._running.ask({"job": dict(job), "seconds": seconds, **self._once}, seconds, arrays)
            except BaseException:
                self._end()
                raise

    def close(self) -> None:
        """End the process; closing twice is no fault."""
        with self._turn:
            self._end()

    def _end(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.end()


class _Running:
    """A started process, with a folder for what it leaves behind; both are gone when nobody holds it any more."""

    def __init__(self, module: str) -> None:
        folder = ExitStack()
        temporary = folder.enter_context(scratch_folder())
        # -P: a folder called `exporters` where the user stands is not ours.
        command = [sys.executable, "-P", "-c", PROGRAM, module]
        python_path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
        environment = {**os.environ, "PYTHONPATH": python_path, "TMPDIR": str(temporary)}
        pipe = subprocess.PIPE
        self._owner = os.getpid()
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        self._words = _LastWords(self._process)
        self.end = weakref.finalize(self, _end, self._process, self._words, folder, self._owner)

    @property
    def answers(self) -> bool:
        """Whether it is still there, and ours: a copy of this process has the same ends of the same pipes."""
        return self._owner == os.getpid() and self._process.poll() is None

    def ask(self, document: Any, seconds: float, arrays: Sequence[Array]) -> tuple[Any, list[Array]]:
        assert self._process.stdin is not None and self._process.stdout is not None
        with _deadline(self._process, seconds) as passed:
            try:
                with suppress(BrokenPipeError):  # what it says, or how it ended, tells more
                    self._process.stdin.write(_packed(document, arrays))
                    self._process.stdin.flush()
                return _unpacked(self._process.stdout)
            except (ValueError, EOFError):
                code = self._code()
        if passed.is_set():
            raise WorkerDied(f"gave no answer within {seconds:.0f} s")
        raise WorkerDied(_how(code, self._words.said))

    def _code(self) -> int:
        """How it ended; one that goes on after half an answer is ended."""
        try:
            code = self._process.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._words.join(timeout=GRACE_S)
        return code


class _LastWords(threading.Thread):
    """The end of what a process writes to standard error, which is read while it runs."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        super().__init__(daemon=True)
        assert process.stderr is not None
        self._descriptor = process.stderr.fileno()
        self.said = b""
        self.start()

    def run(self) -> None:
        while part := os.read(self._descriptor, LAST_WORDS):
            self.said = (self.said + part)[-LAST_WORDS:]


def _end(process: "subprocess.Popen[bytes]", words: _LastWords, folder: ExitStack, owner: int) -> None:
    if owner != os.getpid():
        return
    process.kill()
    process.wait()
    words.join(timeout=GRACE_S)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None and not (stream is process.stderr and words.is_alive()):
            with suppress(OSError):  # of what was never sent
                stream.close()
    folder.close()


@contextmanager
def _deadline(process: "subprocess.Popen[bytes]", seconds: float) -> Iterator[threading.Event]:
    """Ends the process after so long; the event tells that it did."""
    passed = threading.Event()

    def end() -> None:
        passed.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield passed
    finally:
        timer.cancel()


def _how(code: int, said: bytes) -> str:
    """How a process ended that gave no answer, and its last words, in one line."""
    if code == 0:
        return "ended without an answer"
    lines = said.decode(errors="replace").strip().splitlines()
    lines = ["".join(letter if letter.isprintable() else " " for letter in line) for line in lines]
    if code < 0:
        how, told = f"signal {-code}", lines[-3:]
    else:
        how, told = f"exit code {code}", lines[-1:]  # above it stands the way to there
    return f"ended with {how}: {' | '.join(told)[-400:] or 'it said nothing'}"


def _packed(document: Any, arrays: Sequence[Array]) -> bytes:
    packed = []
    for array in arrays:
        stream = io.BytesIO()
        np.save(stream, array, allow_pickle=False)
        packed.append(stream.getvalue())
    return b"".join((json.dumps([document, [len(part) for part in packed]]).encode(), b"\n", *packed))


def _unpacked(stream: IO[bytes]) -> tuple[Any, list[Array]]:
    """The next message; EOFError or ValueError where there is no whole one."""
    line = stream.readline(LONGEST_LINE)
    if not line:
        raise EOFError
    document, sizes = json.loads(line)
    return document, [np.load(io.BytesIO(stream.read(size)), allow_pickle=False) for size in sizes]


def main(worker: str) -> None:
    """Answer jobs until there are none."""
    # Native code prints where it likes: to standard error from here on.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    module: Any = None
    with suppress(EOFError):
        while True:
            given, inputs = _unpacked(sys.stdin.buffer)
            _limit(given["memory_bytes"], given["seconds"], given["dies_with_thread"])
            module = module or importlib.import_module(worker)
            answer, outputs = module.answer(given["job"], inputs[0] if inputs else None)
            signal.alarm(0)
            arrays = outputs if isinstance(outputs, list) else [] if outputs is None else [outputs]
            answers.write(_packed(answer, arrays))
            answers.flush()


def _limit(memory_bytes: int | None, seconds: float, dies_with_thread: bool) -> None:
    """Of this process, while it works on one job; where the system has such limits."""
    if dies_with_thread and sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    # Whoever asked may be gone, and native code heeds neither a closed pipe nor Python's own signals.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(seconds) + GRACE_S)
    if memory_bytes is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
