"""Data-parallel training under `torchrun`: each process takes its share of a batch, gradients are averaged."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipeline.errors import PipelineError


def processes() -> int:
    """How many processes train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def shard(batch: Tensor) -> Tensor:
    """This process's part of `batch` (n,); PipelineError where the processes cannot have equal parts."""
    count = processes()
    if count == 1:
        return batch
    if len(batch) % count:
        raise PipelineError(f"a batch of {len(batch)} images cannot be shared equally by {count} processes")
    return batch.chunk(count)[dist.get_rank()]


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
