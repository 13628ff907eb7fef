"""Workers that crash, hang, fill the memory or talk end in one line, or in their answer."""

import textwrap
from pathlib import Path

import numpy as np
import pytest

from exporters.process import Limits, WorkerDied, ask

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
