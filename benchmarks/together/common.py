"""Runs by several processes on this machine, one thread each."""

import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import torch

from pipeline.runs.begin import create_or_open
from pipeline.runs.config_file import parse_config
from pipeline.runs.engine import run_stage
from pipeline.runs.run import Run
from pipeline.runs.stages import STAGES

_DIGITS = """
[data]
path = "digits"
limit = {limit}
flip = false
[space]
name = "quickstart"
resolutions = [16]
[device]
table = "epyc-vm-quickstart"
[budget]
latency_quantile = 0.5
[train]
epochs = 3
batch_size = {batch_size}
[split]
regions = 2
epochs = 2
[search]
evaluations = {evaluations}
images = {images}
labels = 8
private = {private}
private_batches = {private}
[finetune]
candidates = {candidates}
epochs = {epochs}
[export]
formats = ["onnx"]
"""


def digits(
    limit: int = 2000,
    batch_size: int = 64,
    evaluations: int = 16,
    images: int = 256,
    private: int = 4,
    candidates: int = 3,
    epochs: int = 6,
) -> str:
    """The configuration of a run on the embedded digits, by default on all of them."""
    return _DIGITS.format_map(locals())


def begin(path: Path, stages: int) -> None:
    """Bring a run of `digits` so many stages far, by this process on one thread."""
    torch.set_num_threads(1)
    with create_or_open(path, parse_config(tomllib.loads(digits()), "the benchmark")) as folder:
        for stage in STAGES[:stages]:
            run_stage(Run(folder), stage, lambda done, total, what: None)


def start(words: list[str], processes: int, nodes: int = 1, restarts: int = 0) -> list[subprocess.Popen[bytes]]:
    """Launchers, one a node, of so many processes each that run `pocketnas` with `words`; one alone needs none."""
    command = [sys.executable, "-m", "pipeline", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if processes * nodes > 1:
        meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{_free_port()}", "--rdzv-id", "benchmark"]
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(nodes), *meeting]
        launcher += ["--local-addr", "127.0.0.1", "--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
        command = [*launcher, *command[1:]]
    return [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(nodes)]


def workers(launcher: int) -> list[int]:
    """The processes of a launcher."""
    return [int(pid) for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
