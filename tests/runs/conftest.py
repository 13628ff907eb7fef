"""One small but whole run, which several tests look at: real images, real measurements, real tools."""

import json
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
    command = [sys.executable, "-c", "from pipeline.cli.app import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A whole run that measured this machine."""
    folder = tmp_path_factory.mktemp("finished")
    config = write_config(folder)
    done = pocketnas("run", config, "--out", folder / "run", "--json")
    assert done.returncode == 0, done.stderr
    return FinishedRun(folder / "run", config, json.loads(done.stdout))
