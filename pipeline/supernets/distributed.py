"""Data-parallel training under `torchrun`: the processes together compute what one would on the whole batch.

Each takes its share of the images; gradients are averaged, and BatchNorm normalises with the statistics of the
whole batch.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.distributed_c10d import Store

from pipeline.errors import PipelineError


@contextlib.contextmanager
def process_group(store: Store, rank: int, size: int) -> Iterator[None]:
    """Train as process `rank` of `size`, which meet in `store`."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return processes() == 1 or dist.get_rank() == 0


def processes() -> int:
    """How many processes train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def wait_for_all() -> None:
    """Return when all processes are here."""
    if processes() > 1:
        dist.barrier()


def share(batch_size: int) -> slice | None:
    """This process's part of a batch, None where it is alone; PipelineError where the parts would not be equal."""
    count = processes()
    if count == 1:
        return None
    if batch_size % count:
        raise PipelineError(f"a batch of {batch_size} images cannot be shared equally by {count} processes")
    rank, each = dist.get_rank(), batch_size // count
    return slice(rank * each, (rank + 1) * each)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Set every gradient to its mean over the processes, in one message."""
    count = processes()
    if count == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= count
    for gradient, mean in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def average_value(value: float) -> float:
    """The mean of `value` over the processes."""
    count = processes()
    if count == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(total)
    return float(total) / count


class BatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d`, over the images of all processes while they train together (torch's own needs a GPU)."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) -> the same shape."""
        if not self.training or processes() == 1:
            # Without nn.BatchNorm2d's counter of batches, which only an average without momentum would read.
            statistics = self.running_mean, self.running_var, self.weight, self.bias
            return F.batch_norm(x, *statistics, self.training, self.momentum or 0.0, self.eps)
        count = x.numel() // x.shape[1] * processes()
        mean = _total(x.sum((0, 2, 3), keepdim=True)) / count
        centred = x - mean
        variance = _total(centred.square().sum((0, 2, 3), keepdim=True)) / count
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            with torch.no_grad():
                self.running_mean.lerp_(mean.flatten(), self.momentum)
                self.running_var.lerp_(variance.flatten() * (count / (count - 1)), self.momentum)
        scale = self.weight.view(1, -1, 1, 1) * (variance + self.eps).rsqrt()
        return torch.addcmul(self.bias.view(1, -1, 1, 1), centred, scale)


class _Total(torch.autograd.Function):
    """Sum over the processes; the gradient is the sum of theirs, since each one's loss depends on every input."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total


def _total(value: Tensor) -> Tensor:
    total: Tensor = _Total.apply(value)  # type: ignore[no-untyped-call]
    return total
