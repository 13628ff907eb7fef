"""How far the first steps of two processes are from those of one, in 32 bits and in 64, on the embedded digits.

Prints the relative difference of all gradients of a step together: one process in 32 bits against itself in 64, two
against one in 32, and two against one in 64.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from benchmarks.common import parser, print_table
from benchmarks.together.common import begin
from pipeline.runs.run import Run
from pipeline.supernets.data import TrainingData
from pipeline.supernets.distributed import process_group
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.steps import Training
from pipeline.supernets.supernet import Supernet

_BITS = {32: torch.float32, 64: torch.float64}
_STEPS = 3


class _Wide(TrainingData):
    """Images in 64 bits."""

    def training_batch(
        self, indices: Tensor, generator: torch.Generator, part: slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        images, labels = super().training_batch(indices, generator, part)
        return images.double(), labels


def gradients(run: Run, bits: int) -> dict[str, Tensor]:
    """All gradients of each step of training the supernet, in one vector each, and the losses."""
    torch.set_num_threads(1)
    data, config = run.training_data, run.config.train
    kind = TrainingData if bits == 32 else _Wide
    same = kind(data.images, data.labels, data.mean, data.std, data.augment, data.seen_px)
    supernet = Supernet(run.space, config.sharing, run.config.seed).train().to(_BITS[bits])
    settings = TrainSettings(epochs=config.epochs, batch_size=config.batch_size, lr=config.learning_rate)
    training = Training(supernet, same, settings)
    found = {}
    for step in range(1, _STEPS + 1):
        training.advance()
        parts = [p.grad.flatten() for p in supernet.parameters() if p.grad is not None]
        found[f"step {step}"] = torch.cat(parts).double()
    return found | {"losses": torch.tensor(training.losses, dtype=torch.float64)}


def by_two(root: Path, bits: int) -> dict[str, Tensor]:
    """What the first of two processes found."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    child = ["-m", "benchmarks.together.rounding", "--child", str(root), "--bits", str(bits)]
    subprocess.run([*launcher, *child], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    found: dict[str, Tensor] = torch.load(root / f"{bits}.pt", weights_only=True)
    return found


def _child(root: Path, bits: int) -> None:
    store, rank, size = next(rendezvous("env://"))
    with process_group(store, rank, size):
        found = gradients(Run.open(root / "run"), bits)
    if not rank:
        torch.save(found, root / f"{bits}.pt")


def _difference(found: Tensor, expected: Tensor) -> str:
    return f"{float((found - expected).norm() / expected.norm()):.1e}"


if __name__ == "__main__":
    line = parser(__doc__)
    line.add_argument("--child", type=Path)
    line.add_argument("--bits", type=int, choices=list(_BITS), default=32)
    chosen = line.parse_args()
    if chosen.child:
        _child(chosen.child, chosen.bits)
    else:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            begin(root / "run", 2)
            run = Run.open(root / "run")
            one, two = (
                {bits: of(bits) for bits in _BITS} for of in (lambda b: gradients(run, b), lambda b: by_two(root, b))
            )
        pairs = {
            "one process in 32 bits against itself in 64": (one[32], one[64]),
            "two processes against one, 32 bits": (two[32], one[32]),
            "two processes in 32 bits against one in 64": (two[32], one[64]),
            "two processes against one, 64 bits": (two[64], one[64]),
        }
        steps = [f"step {step}" for step in range(1, _STEPS + 1)]
        rows = [[told, *(_difference(a[step], b[step]) for step in steps)] for told, (a, b) in pairs.items()]
        print_table(["relative difference of the gradient", *steps], rows)
