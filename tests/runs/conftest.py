"""One small but whole run, which several tests look at: real images, real measurements, real tools."""

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TINY = """
seed = 3

[data]
path = "digits"
limit = 200
flip = false

[space]
name = "quickstart"
resolutions = [12, 16]

[device]
networks = 16
effort = "quick"
{table}

[budget]
latency_quantile = 0.5
macs = "1M"

[train]
epochs = 2
batch_size = 32

[split]
regions = 2
epochs = 1

[search]
evaluations = 14
images = 100
labels = 10
private = 4
private_batches = 4

[finetune]
candidates = 2
epochs = 2

[export]
formats = ["onnx", "coreml"]
"""


@dataclass(frozen=True)
class FinishedRun:
    """A run's folder, the configuration that made it, and the JSON that it printed."""

    path: Path
    config: Path
    printed: dict[str, Any]


def write_config(folder: Path, table: Path | None = None) -> Path:
    """The tiny configuration as a file, with a latency table where one is given."""
    config = folder / "config.toml"
    config.write_text(TINY.format(table="" if table is None else f'table = "{table}"'))
    return config


def pocketnas(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-c", "from pipeline.cli.start import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A whole run that measured this machine: one for all worker processes of this test run."""
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "finished"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "printed.json").exists():
            folder.mkdir()
            done = pocketnas("run", write_config(folder), "--out", folder / "run", "--json")
            assert done.returncode == 0, done.stderr
            (folder / "printed.json").write_text(done.stdout)
    return FinishedRun(folder / "run", folder / "config.toml", json.loads((folder / "printed.json").read_text()))
