"""Runs under `torchrun`: real processes share a run, one of them leads, and what one process would find is found."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
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
[split]
regions = 2
epochs = 1
[search]
evaluations = 8
images = 64
labels = 8
private = 2
private_batches = 2
[finetune]
candidates = 2
epochs = 4
[export]
formats = ["onnx"]
"""
LED_BY_THE_BASE = ("data", "profile", "train", "split")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("together") / "c.toml"
    file.write_text(CONFIG)
    return file


@pytest.fixture(scope="module")
def base(config: Path) -> Path:
    """A run of one process that is about to search."""
    from pipeline.runs.config import read_config
    from pipeline.runs.engine import run_stage
    from pipeline.runs.folder import create_or_open
    from pipeline.runs.run import Run
    from pipeline.runs.stages import STAGES

    with create_or_open(config.with_name("base"), read_config(config)) as folder:
        for stage in STAGES[: len(LED_BY_THE_BASE)]:
            run_stage(Run(folder), stage, lambda done, total, what: None)
    return folder.path


def torchrun(*words: object, options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Two processes that run `words`, a command of pocketnas or, with `--no-python`, any."""
    module = () if "--no-python" in options else ("-m", "pipeline")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *options]
    return subprocess.Popen(
        [*launcher, *module, *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def children_of(process: subprocess.Popen[str]) -> list[int]:
    """The workers of a launcher, in the order of their ranks."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def trained(run: Path) -> dict[str, dict[str, object]]:
    return {file.name: json.loads(file.read_text()) for file in (run / "winner" / "trained").glob("*.json")}


def scores(run: Path, name: str) -> dict[str, float]:
    entries = map(json.loads, (run / name).read_text().splitlines())
    return {entry["arch"]: entry["score" if "score" in entry else "cross_entropy"] for entry in entries}


def our_lines(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("pocketnas: ")]


def test_two_processes_of_which_one_is_killed_find_what_one_finds(
    config: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    alone, shared = (Path(shutil.copytree(base, base.with_name(name))) for name in ("alone", "shared"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert run_command(["run", str(config), "--out", str(alone)]) in (0, 1)
    torch.set_num_threads(threads)

    launcher = torchrun("run", config, "--out", shared, "--json", options=("--max-restarts", "1"))
    deadline = time.monotonic() + 200
    while len(done := trained_before(shared)) < 3 and launcher.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert launcher.poll() is None
    os.kill(children_of(launcher)[1], signal.SIGKILL)
    printed, told = launcher.communicate(timeout=200)
    assert launcher.returncode == 0, told
    assert json.loads(printed)["winner"]["arch"] == json.loads((alone / "winner" / "winner.json").read_text())["arch"]
    assert {file: file.stat().st_mtime_ns for file in done} == done  # what had finished was not done again
    assert trained(shared) == trained(alone)
    for name in ("judged.jsonl", "private.jsonl"):
        assert scores(shared, name) == pytest.approx(scores(alone, name), abs=1e-6)


def trained_before(run: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in (run / "winner" / "trained").glob("*.json")}


def test_two_processes_train_what_one_would(base: Path, config: Path) -> None:
    together = config.with_name("trained")
    launcher = torchrun("run", config, "--out", together, "--json")
    printed, told = launcher.communicate(timeout=200)
    assert launcher.returncode == 0, told
    assert [stage["name"] for stage in json.loads(printed)["stages"]][-1] == "report"
    assert losses(together) == pytest.approx(losses(base), rel=0.02)
    for folder in ("supernet", "children"):
        assert names(together / folder) == names(base / folder)


def losses(run: Path) -> list[float]:
    values: list[float] = json.loads((run / "supernet" / "losses.json").read_text())["losses"]
    return values


def names(folder: Path) -> set[Path]:
    return {file.relative_to(folder) for file in folder.rglob("*")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = 2", "epochs = 3"), "process 1 on .* has another configuration: .train. epochs .was 2, is 3"),
        (("epochs = 2", "epoch = 2"), "process 1 on .*c1.toml.*epoch"),
    ],
)
def test_what_is_wrong_with_a_process_is_one_line(
    config: Path, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    for rank, text in enumerate((CONFIG, CONFIG.replace(*change, 1))):
        (tmp_path / f"c{rank}.toml").write_text(text)
    command = f"exec {sys.executable} -m pipeline run {tmp_path}/c$RANK.toml --out {tmp_path}/run"
    launcher = torchrun("bash", "-c", command, options=("--no-python",))
    told = launcher.communicate(timeout=100)[1]
    assert launcher.returncode
    (line,) = our_lines(told)
    assert re.search(message, line), line
    assert f"traceback : {line.removeprefix('pocketnas: ')}" in told  # torchrun's own report ends with the same line
    assert not (tmp_path / "run").exists()


def test_a_batch_that_cannot_be_shared_is_one_line_and_the_run_goes_on_without(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONFIG.replace("batch_size = 32", "batch_size = 31"))
    told = torchrun("run", tmp_path / "c.toml", "--out", tmp_path / "run").communicate(timeout=100)[1]
    (line,) = our_lines(told)
    assert line.endswith("a batch of 31 images cannot be shared equally by 2 processes")
