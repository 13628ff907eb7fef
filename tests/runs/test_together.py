"""Runs under `torchrun`: real processes share a run, one of them leads, and what one process would find is found."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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
UNPRIVILEGED = "setpriv --bounding-set=-dac_override,-dac_read_search"  # root's files have rights for root, too
LED_BY_THE_BASE = ("data", "profile", "train", "split")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("together") / "c.toml"
    file.write_text(CONFIG)
    return file


@pytest.fixture(scope="module")
def base(config: Path) -> Path:
    """A run of one process that is about to search."""
    from pipeline.runs.begin import create_or_open
    from pipeline.runs.config_file import read_config
    from pipeline.runs.engine import run_stage
    from pipeline.runs.run import Run
    from pipeline.runs.stages import STAGES

    with create_or_open(config.with_name("base"), read_config(config)) as folder:
        for stage in STAGES[: len(LED_BY_THE_BASE)]:
            run_stage(Run(folder), stage, lambda done, total, what: None)
    return folder.path


def torchrun(*words: object, options: tuple[str, ...] = ("--standalone",), processes: int = 2) -> subprocess.Popen[str]:
    """So many processes that run `words`, a command of pocketnas or, with `--no-python`, any."""
    module = () if "--no-python" in options else ("-m", "pipeline")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), *options]
    return subprocess.Popen(
        [*launcher, *module, *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def two_nodes(*words: object, processes: int = 1) -> list[subprocess.Popen[str]]:
    """Two launchers of so many processes each that meet over loopback, as two machines do over a network."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{found.getsockname()[1]}"
    meeting = ("--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint, "--rdzv-id", "test", "--local-addr", "127.0.0.1")
    options = ("--nnodes", "2", *meeting, "--max-restarts", "1")
    return [torchrun(*words, options=options, processes=processes) for _ in range(2)]


def children_of(process: subprocess.Popen[str]) -> list[int]:
    """The workers of a launcher, in the order of their ranks."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def trained(run: Path) -> dict[str, dict[str, object]]:
    found = {file.name: json.loads(file.read_text()) for file in (run / "winner" / "trained").glob("*.json")}
    return {name: {**entry, "seconds": None} for name, entry in found.items()}


def scores(run: Path, name: str) -> dict[str, float]:
    entries = map(json.loads, (run / name).read_text().splitlines())
    return {entry["arch"]: entry["score" if "score" in entry else "cross_entropy"] for entry in entries}


def our_lines(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("pocketnas: ")]


@pytest.fixture(scope="module")
def alone(config: Path, base: Path) -> Path:
    """The base, brought to its end by one process."""
    import torch

    found = Path(shutil.copytree(base, base.with_name("alone")))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert run_command(["run", str(config), "--out", str(found)]) in (0, 1)
    torch.set_num_threads(threads)
    return found


def test_two_processes_of_which_one_is_killed_find_what_one_finds(config: Path, base: Path, alone: Path) -> None:
    shared = Path(shutil.copytree(base, base.with_name("shared")))
    launcher = torchrun("run", config, "--out", shared, "--json", options=("--standalone", "--max-restarts", "1"))
    deadline = time.monotonic() + 200
    while len(done := trained_before(shared)) < 3 and launcher.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert launcher.poll() is None
    os.kill(children_of(launcher)[1], signal.SIGKILL)
    printed, told = launcher.communicate(timeout=200)
    assert launcher.returncode == 0, told
    assert {file: file.stat().st_mtime_ns for file in done} == done  # what had finished was not done again
    assert_found_the_same(json.loads(printed), shared, alone)


def test_four_processes_of_two_launchers_find_what_one_finds(config: Path, base: Path, alone: Path) -> None:
    shared = Path(shutil.copytree(base, base.with_name("four")))
    launchers = two_nodes("run", config, "--out", shared, "--json", processes=2)
    ended = [launcher.communicate(timeout=200) for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0], ended
    (printed,) = [printed for printed, _ in ended if printed]
    assert_found_the_same(json.loads(printed), shared, alone)


def assert_found_the_same(document: dict[str, Any], shared: Path, alone: Path) -> None:
    """What several processes found from the same supernet and table is what one did, network by network."""
    assert document["winner"]["arch"] == json.loads((alone / "winner" / "winner.json").read_text())["arch"]
    assert trained(shared) == trained(alone)
    for name in ("judged.jsonl", "private.jsonl"):
        assert scores(shared, name) == pytest.approx(scores(alone, name), abs=1e-6)


def trained_before(run: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in (run / "winner" / "trained").glob("*.json")}


def test_two_launchers_of_which_one_loses_its_process_train_what_one_would(base: Path, config: Path) -> None:
    """One dies on the second machine: the launchers count restarts each for itself, and all begin again together."""
    together = config.with_name("trained")
    shutil.copytree(base, together, ignore=shutil.ignore_patterns("train.json", "split.json", "supernet", "children"))
    (together / "partition.json").unlink()
    launchers = two_nodes("stage", "train", together, "--json")
    deadline = time.monotonic() + 200
    while not (together / "stages" / "train.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    second = max(launchers, key=lambda launcher: int(_environment(children_of(launcher)[0])["GROUP_RANK"]))
    os.kill(children_of(second)[0], signal.SIGKILL)
    ended = [launcher.communicate(timeout=200) for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0], ended
    (printed,) = [printed for printed, _ in ended if printed]
    assert json.loads(printed)["ran_now"] is True
    assert losses(together) == pytest.approx(losses(base), rel=0.02)
    assert names(together / "supernet") == names(base / "supernet")


def _environment(process: int) -> dict[str, str]:
    """What a process was started with."""
    entries = Path(f"/proc/{process}/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def losses(run: Path) -> list[float]:
    values: list[float] = json.loads((run / "supernet" / "losses.json").read_text())["losses"]
    return values


def names(folder: Path) -> set[Path]:
    return {file.relative_to(folder) for file in folder.rglob("*")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = 2", "epochs = 3"), "process 1 on .* has another configuration: .train. epochs .was 2, is 3"),
        (("epochs = 2", "device = 'cuda:7'\nepochs = 2"), "process 1 on .*device = 'cuda:7' is not on this machine"),
    ],
)
def test_what_is_wrong_with_a_process_is_one_line(
    config: Path, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    for rank, text in enumerate((CONFIG, CONFIG.replace(*change, 1))):
        (tmp_path / f"c{rank}.toml").write_text(text)
    command = f"exec {sys.executable} -m pipeline run {tmp_path}/c$RANK.toml --out {tmp_path}/run"
    launcher = torchrun("bash", "-c", command, options=("--standalone", "--no-python"))
    told = launcher.communicate(timeout=100)[1]
    assert launcher.returncode
    (line,) = our_lines(told)
    assert re.search(message, line), line
    assert f"traceback : {line.removeprefix('pocketnas: ')}" in told  # torchrun's own report ends with the same line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "digits", "--out", "OUT", "--latency", "5"), "No such option: --latency"),
        (("profile", "quickstart", "--device", "host", "--out", "OUT"), "'pocketnas profile' is done by one process"),
    ],
)
def test_what_no_process_can_do_is_one_line(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    out = tmp_path / "out"
    told = torchrun(*(out if word == "OUT" else word for word in words)).communicate(timeout=100)[1]
    (line,) = our_lines(told)
    assert message in line
    assert not out.exists()


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="rights are taken from root alone")
def test_a_folder_that_one_process_cannot_write_to_is_one_line_and_nothing_is_lost(base: Path, config: Path) -> None:
    """The process is in the middle of training when that is found out; nobody waits for it for ever."""
    shared = config.with_name("read-only")
    shutil.copytree(base, shared, ignore=shutil.ignore_patterns("train.json", "split.json", "supernet", "children"))
    (shared / "partition.json").unlink()
    files = [file for file in shared.rglob("*") if file.is_file() and file.name != "events.jsonl"]  # it tells of this
    before = {file: file.read_bytes() for file in files}
    for folder in (shared, *(entry for entry in shared.rglob("*") if entry.is_dir())):
        folder.chmod(0o555)
    command = f"exec {UNPRIVILEGED} {sys.executable} -m pipeline stage train {shared}"
    lead = f"[ $RANK = 1 ] || exec {sys.executable} -m pipeline stage train {shared}; {command}"
    told = torchrun("bash", "-c", lead, options=("--standalone", "--no-python")).communicate(timeout=100)[1]
    (line,) = our_lines(told)
    assert re.search(r"process 1 on .*read-only cannot be written to", line), line
    assert {file: file.read_bytes() for file in before} == before
