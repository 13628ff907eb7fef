"""Where networks live and in which precision they train: chosen once, by whoever starts work.

Everything else follows the network that it is given: batches go to the device of its weights.
"""

import os
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.process import for_networks
from pipeline.supernets.settings import Precision

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Compute:
    """A device that is there, and the precision of training on it."""

    device: torch.device
    precision: Precision

    def placed(self, module: M) -> M:
        """A network with its weights and statistics on the device: itself, moved."""
        return module.to(self.device)


def choose(device: str = "auto", precision: str = "auto") -> Compute:
    """The device called `auto`, `cpu`, `cuda`, `cuda:1` or `mps`, and `auto`, `fp32`, `bf16` or `fp16` on it.

    `auto` is the first accelerator that is there (under `torchrun` each process its own), else the CPU; on CUDA bf16
    where the card has it and fp16 elsewhere, fp32 on everything else. Raises PipelineError for a device that is not
    there, with those that are, and for fp16 on a CPU.
    """
    for_networks()
    found = torch.device(_automatic() if device == "auto" else _named(device))
    if precision == "auto":
        chosen: Precision = "fp32"
        if found.type == "cuda":
            chosen = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        return Compute(found, chosen)
    if precision == "fp16" and found.type == "cpu":
        raise PipelineError("[train] precision = 'fp16' needs a GPU; on a CPU accepted are fp32 and bf16")
    if precision not in ("fp32", "bf16", "fp16"):
        raise PipelineError(f"[train] precision = {precision!r} is unknown; known are auto, fp32, bf16, fp16")
    return Compute(found, precision)  # type: ignore[arg-type]  # mypy does not narrow by membership


def device_of(module: nn.Module) -> torch.device:
    """Where a network's weights are; the CPU where it has none."""
    first = next(module.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def on(device: torch.device, tensor: Tensor) -> Tensor:
    """`tensor`, of any shape, on `device`; itself where it is there."""
    return tensor.to(device, non_blocking=True)


def present() -> tuple[str, ...]:
    """The names of the devices of this machine that torch can use."""
    found = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ("cpu", *found, *(["mps"] if torch.backends.mps.is_available() else []))


def _automatic() -> str:
    devices = [name for name in present() if name != "cpu"]
    if not devices:
        return "cpu"
    return devices[int(os.environ.get("LOCAL_RANK", "0")) % len(devices)]


def _named(device: str) -> str:
    devices = present()
    wanted = _automatic() if device == "cuda" and any(name.startswith("cuda") for name in devices) else device
    if wanted not in devices:
        raise PipelineError(f"[train] device = {device!r} is not on this machine; it has {', '.join(devices)}")
    return wanted
