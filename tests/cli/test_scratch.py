"""A killed command's temporary files go with the next command, whichever that is."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.cli.scratch import temporary_files
from tests.waiting import until

WAITS = """
import tempfile, time
from pathlib import Path
from pipeline.cli.scratch import temporary_files
with temporary_files():
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "large").touch()
        time.sleep(60)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_temporary_files_lie_in_one_folder_that_is_gone_at_the_end(temporary: Path) -> None:
    with temporary_files():
        with tempfile.NamedTemporaryFile() as file:
            assert Path(file.name).is_relative_to(temporary) and Path(file.name).parent.parent.parent == temporary
        child = [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"]
        told = subprocess.run(child, capture_output=True, text=True, check=True).stdout.strip()
        assert Path(told).parent.parent == temporary
    assert list(temporary.iterdir()) == [] and tempfile.gettempdir() == str(temporary)


def test_what_a_killed_command_left_goes_with_the_next_and_what_a_living_one_has_stays(temporary: Path) -> None:
    killed, living = (subprocess.Popen([sys.executable, "-c", WAITS]) for _ in range(2))
    try:
        until(lambda: len(list(temporary.rglob("large"))) == 2, "both commands' files")
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert len(list(temporary.rglob("large"))) == 2
        (temporary / "of-another-program").mkdir()
        (temporary / "pocketnas-scratch-link").symlink_to(Path.home())
        done = subprocess.run([sys.executable, "-m", "pipeline", "space", "quickstart"], capture_output=True)
        assert done.returncode == 0
        assert len(list(temporary.rglob("large"))) == 1
        assert {path.name for path in temporary.iterdir()} >= {"of-another-program", "pocketnas-scratch-link"}
    finally:
        for process in (killed, living):
            process.kill()
            process.wait()


def test_a_command_runs_where_nothing_can_be_written(temporary: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(temporary / "none")}
    command = [sys.executable, "-m", "pipeline", "space", "quickstart", "--json"]
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
