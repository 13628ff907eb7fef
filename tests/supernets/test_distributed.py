"""Two processes (gloo) train as one does."""

import json
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
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import _Training

ROOT = Path(__file__).resolve().parents[2]


def one_step() -> tuple[dict[str, torch.Tensor], list[float]]:
    """Gradients of the first step, statistics after it, and the losses of two steps."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (24, 16, 16, 3), generator=generator, dtype=torch.uint8)
    data = TrainingData(images, torch.arange(24) % 10, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    supernet = Supernet(load_space("quickstart")).train()
    training = _Training(supernet, data, TrainSettings(batch_size=12, epochs=1, lr=0.01, mixup=0.5))
    training.advance()
    found = {name: p.grad.clone() for name, p in supernet.named_parameters() if p.grad is not None}
    found |= {name: buffer.clone() for name, buffer in supernet.named_buffers() if buffer.is_floating_point()}
    training.advance()
    return found, training.losses


def test_the_gradient_of_two_processes_equals_that_of_one(tmp_path: Path) -> None:
    expected, losses = one_step()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, "-m", "tests.supernets.test_distributed", str(tmp_path)],
        check=True, cwd=ROOT, env=environment, timeout=400,
    )  # fmt: skip
    for rank in range(2):
        got = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert got.keys() == expected.keys()
        for name, tensor in expected.items():
            torch.testing.assert_close(got[name], tensor, rtol=2e-3, atol=2e-5, msg=name)
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == pytest.approx(losses, rel=1e-4)


def test_unequal_parts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert share(5) is None
    monkeypatch.setattr("pipeline.supernets.distributed.processes", lambda: 2)
    with pytest.raises(PipelineError, match="5 images cannot be shared equally by 2 processes"):
        share(5)


def _main(folder: Path) -> None:
    torch.set_num_threads(1)
    store, rank, size = next(rendezvous("env://"))
    with process_group(store, rank, size):
        if processes() != 2:
            raise RuntimeError("torchrun started two processes")
        tensors, losses = one_step()
    torch.save(tensors, folder / f"{rank}.pt")
    (folder / f"{rank}.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
