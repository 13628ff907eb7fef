"""A run's training under `torchrun`: two real processes train what one would, and one of them writes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.app import run_command

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
[data]
path = "digits"
limit = 96
flip = false
[space]
name = "quickstart"
resolutions = [16]
[device]
table = "epyc-vm-quickstart"
[budget]
latency_quantile = 0.5
[train]
epochs = 2
batch_size = 32
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that is about to train."""
    from pipeline.runs.config import read_config
    from pipeline.runs.engine import run_stage
    from pipeline.runs.folder import create_or_open
    from pipeline.runs.run import Run
    from pipeline.runs.stages import STAGES

    (tmp_path / "c.toml").write_text(CONFIG)
    with create_or_open(tmp_path / "run", read_config(tmp_path / "c.toml")) as folder:
        for stage in STAGES[:2]:
            run_stage(Run(folder), stage, lambda done, total, what: None)
    return folder.path


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, "-m", "pipeline", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=400,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip


def losses(run: Path) -> list[float]:
    values: list[float] = json.loads((run / "supernet" / "losses.json").read_text())["losses"]
    return values


def test_two_processes_train_what_one_would(run: Path) -> None:
    alone = Path(shutil.copytree(run, run.with_name("alone")))
    assert run_command(["train", str(alone)]) == 0
    done = torchrun("train", str(run), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ran_now"] is True  # one document: only the first process prints
    assert losses(run) == pytest.approx(losses(alone), rel=0.02)
    assert {file.name for file in (run / "supernet").iterdir()} == {
        file.name for file in (alone / "supernet").iterdir()
    }
    again = torchrun("train", str(run), "--json")
    assert json.loads(again.stdout)["ran_now"] is False


def test_what_one_process_does_is_refused_under_torchrun(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run_command(["split", str(run)]) == 2
    assert "under torchrun only 'pocketnas train RUN' is" in capsys.readouterr().err
    assert run_command(["run", str(run.with_name("c.toml")), "--out", str(run)]) == 2
