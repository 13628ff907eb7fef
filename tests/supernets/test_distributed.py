"""Two processes (gloo) train as one does.

Compared in 64 bits: in 32 bits another order of the same sums is enlarged a hundredfold by the first steps of a
network with BatchNorm, so that no tolerance would tell rounding from a fault.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed.rendezvous import rendezvous

from pipeline.errors import PipelineError
from pipeline.spaces.files import load_space
from pipeline.supernets.data import TrainingData
from pipeline.supernets.distributed import process_group, processes, share
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.steps import Training
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import train

ROOT = Path(__file__).resolve().parents[2]


SETTINGS = {
    "plain": TrainSettings(batch_size=12, epochs=2, lr=0.05),
    "all at once": TrainSettings(batch_size=12, epochs=2, lr=0.05, mixup=0.5, grad_clip=0.5, ema_decay=0.9),
}
STEPS = 3


class _Wide(TrainingData):
    """Images in 64 bits."""

    def training_batch(
        self, indices: torch.Tensor, generator: torch.Generator, part: slice = slice(None)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = super().training_batch(indices, generator, part)
        return images.double(), labels


def trained(settings: TrainSettings) -> dict[str, torch.Tensor]:
    """Every gradient, weight and statistic after each of the first steps, and the losses."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (24, 16, 16, 3), generator=generator, dtype=torch.uint8)
    data = _Wide(images, torch.arange(24) % 10, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    supernet = Supernet(load_space("quickstart")).train().double()
    training = Training(supernet, data, settings)
    found: dict[str, torch.Tensor] = {}
    for step in range(STEPS):
        training.advance()
        found |= {f"{step} d {n}": p.grad.clone() for n, p in supernet.named_parameters() if p.grad is not None}
        found |= {f"{step} {n}": t.clone() for n, t in supernet.state_dict().items() if t.is_floating_point()}
    found |= {f"average {n}": t for n, t in training.average.tensors.items() if t.is_floating_point()}
    return found | {"losses": torch.tensor(training.losses, dtype=torch.float64)}


def test_two_processes_compute_what_one_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, "-m", "tests.supernets.test_distributed", str(tmp_path)],
        check=True, cwd=ROOT, env=environment, timeout=400,
    )  # fmt: skip
    for name, settings in SETTINGS.items():
        expected = trained(settings)
        for rank in range(2):
            got = torch.load(tmp_path / f"{name} {rank}.pt", weights_only=True)
            assert got.keys() == expected.keys()
            for key, tensor in expected.items():
                # Losses are summed in 32 bits; some gradients are zero but for rounding.
                within = 1e-6 if key == "losses" else 1e-9
                torch.testing.assert_close(got[key], tensor, rtol=within, atol=within, msg=f"{name}: {key}")


def test_unequal_parts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert share(5) is None
    monkeypatch.setattr("pipeline.supernets.distributed.processes", lambda: 2)
    with pytest.raises(PipelineError, match="5 images cannot be shared equally by 2 processes"):
        share(5)


def test_a_number_of_processes_that_the_batch_does_not_allow_leaves_the_checkpoint_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = TrainingData(torch.zeros(24, 16, 16, 3, dtype=torch.uint8), torch.arange(24) % 10, (0.5,) * 3, (0.25,) * 3)
    settings, checkpoint = TrainSettings(batch_size=8, epochs=1), tmp_path / "checkpoint"
    train(Supernet(load_space("quickstart")), data, settings, checkpoint)
    before = checkpoint.read_bytes()
    monkeypatch.setattr("pipeline.supernets.distributed.processes", lambda: 3)
    with pytest.raises(PipelineError, match="8 images cannot be shared equally by 3 processes"):
        train(Supernet(load_space("quickstart")), data, settings, checkpoint)
    assert checkpoint.read_bytes() == before


def _main(folder: Path) -> None:
    torch.set_num_threads(1)
    store, rank, size = next(rendezvous("env://"))
    with process_group(store, rank, size):
        if processes() != 2:
            raise RuntimeError("torchrun started two processes")
        for name, settings in SETTINGS.items():
            torch.save(trained(settings), folder / f"{name} {rank}.pt")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
