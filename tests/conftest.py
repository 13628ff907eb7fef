"""Fixtures that every part of the suite may use."""

import os
import signal
from pathlib import Path

import pytest


def pytest_configure() -> None:
    """Programs that tests start hear Ctrl-C also where whoever started pytest ignores it, as `nohup … &` does."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public measurements and images; tests that need it are skipped where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("POCKETNAS_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no benchmark data at {folder}; set POCKETNAS_SHARED_DATA to its folder")
    return folder
