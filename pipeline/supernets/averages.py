"""A running average of what a network holds, beside its training."""

import torch
from torch import nn


class RunningAverage:
    """An exponential moving average of weights and statistics; none without a decay."""

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self.decay = decay
        self.tensors = {n: t.clone() for n, t in model.state_dict().items()} if decay is not None else {}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in what `model` holds after update number `step`, from 0."""
        if self.decay is None:
            return
        weight = 1 - min(self.decay, (1 + step) / (10 + step))  # an average of few steps forgets faster
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, weight)
            else:
                self.tensors[name].copy_(tensor)

    def apply(self, model: nn.Module) -> None:
        """Leave the average in `model`, where there is one."""
        if self.decay is not None:
            model.load_state_dict(self.tensors)
