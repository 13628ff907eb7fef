"""Workers that crash, hang, fill the memory or talk end in one line, or in their answer."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from exporters.process import Limits, Worker, WorkerDied, ask
from tests.waiting import until

LIMITS = Limits(seconds=60)


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Writes a module with the given body of `answer(job, inputs)` and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def written(body: str) -> str:
        text = f"import os, resource, signal, sys, time\ndef answer(job, inputs):\n{textwrap.indent(body, '    ')}\n"
        (tmp_path / "some_worker.py").write_text(text)
        return "some_worker"

    return written


def test_an_answer_with_numbers(worker) -> None:  # type: ignore[no-untyped-def]
    talking = worker("print('hello')\nos.write(1, b'native')\nreturn {'sum': float(inputs.sum())}, inputs * job['by']")
    answer, outputs = ask(talking, {"by": 2}, LIMITS, np.arange(3, dtype=np.float32))
    assert answer == {"sum": 3.0} and outputs is not None
    np.testing.assert_array_equal(outputs, [0, 2, 4])


@pytest.mark.parametrize(
    ("body", "limits", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", LIMITS, "ended with signal 11: it said nothing"),
        ("raise ValueError('no such\\n\\x1b[31mlayer')", LIMITS, "ended with exit code 1:  .31mlayer"),
        ("sys.exit(7)", LIMITS, "ended with exit code 7: it said nothing"),
        ("os._exit(0)", LIMITS, "ended without an answer"),
        ("time.sleep(100)", Limits(seconds=1), "gave no answer within 1 s"),
        ("return {'n': len(bytearray(1 << 30))}, None", Limits(60, 512 << 20), "exit code 1: MemoryError"),
    ],
)
def test_what_ends_a_worker_is_told_in_one_line(worker, body: str, limits: Limits, told: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(WorkerDied, match=told) as caught:
        ask(worker(body), {}, limits)
    assert str(caught.value).isprintable()


KILLED = """
import os, sys
from exporters.process import Worker
worker = Worker("some_worker")
print(worker.ask({}, 60)[0]["pid"], flush=True)
worker.ask({"hang": True}, 60)
"""


def test_a_worker_answers_until_it_dies_and_then_another_does(worker) -> None:  # type: ignore[no-untyped-def]
    name = worker(
        "if job.get('die'): os.abort()\nreturn os.getpid(), [inputs, inputs + 1] if inputs is not None else []"
    )
    with Worker(name) as process:
        first, none = process.ask({}, 60)
        assert none == [] and process.ask({}, 60)[0] == first
        _, (same, more) = process.ask({}, 60, np.arange(3))
        np.testing.assert_array_equal(more, same + 1)
        with pytest.raises(WorkerDied, match="ended with signal 6"):
            process.ask({"die": True}, 60)
        second = process.ask({}, 60)[0]
        assert second != first
        os.kill(second, signal.SIGKILL)  # between two jobs, as where memory runs out
        until(lambda: not _alive(second), "the killed worker ends")
        assert process.ask({}, 60)[0] not in (first, second)
        last = process.ask({}, 60)[0]
    assert not _alive(last)


def test_what_a_killed_process_leaves_goes_with_the_next_worker(  # type: ignore[no-untyped-def]
    worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = worker(
        "open(os.path.join(os.environ['TMPDIR'], 'left'), 'w').close()\n"
        "if job.get('hang'): time.sleep(3)\n"
        "return {'pid': os.getpid()}, None"
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert list(temporary.glob("*/left"))
    until(lambda: not _alive(pid), "the worker ends after its job")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    ask(name, {}, LIMITS)
    assert list(temporary.iterdir()) == []


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
