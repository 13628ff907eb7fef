"""SIGINT and SIGTERM at any moment of a command: one line, exit code 2, no traceback; and not after its end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# A module that every Python process imports first: it sends the process a signal when it imports `{when}`, from
# inside of `exec` of a string, as where a dataclass is being made at that moment.
_SITE = """
import atexit, os, sys
SIGNAL = "import os\\nos.kill(os.getpid(), {number})\\nfor _ in range(100): pass\\n"
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "{when}":
            sys.meta_path.remove(self)
            exec(SIGNAL, {{}})
if "{when}" == "exit":
    atexit.register(exec, SIGNAL, {{}})
else:
    sys.meta_path.insert(0, Finder())
"""


def _pocketnas(tmp_path: Path, when: str, sign: signal.Signals) -> "subprocess.CompletedProcess[str]":
    (tmp_path / "sitecustomize.py").write_text(_SITE.format(when=when, number=int(sign)))
    here = os.pathsep.join([str(tmp_path), *(path or str(Path.cwd()) for path in sys.path)])
    command = [sys.executable, "-m", "pipeline", "space", "quickstart", "max", "--json"]
    environment = {**os.environ, "PYTHONPATH": here}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["typer", "pipeline.cli.weights", "pipeline.spaces.files"])
def test_a_signal_at_any_moment_is_one_line(when: str, sign: signal.Signals, tmp_path: Path) -> None:
    """While the command line is imported, while commands are, and while one works."""
    done = _pocketnas(tmp_path, when, sign)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "pocketnas: interrupted; the same command continues where this one stopped\n"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_end_changes_nothing(sign: signal.Signals, tmp_path: Path) -> None:
    done = _pocketnas(tmp_path, "exit", sign)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["blocks"]
