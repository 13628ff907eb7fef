"""Optimisers whose whole state is spelled out from the beginning, so that a checkpoint can hold it."""

import torch
from torch import Tensor, nn

from pipeline.supernets.settings import TrainSettings


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimiser of the settings; weight decay on what is not BatchNorm, bias or kernel transform."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (plain if parameter.dim() < 2 or ".transforms." in name else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer: torch.optim.Optimizer
    if settings.optimizer == "adamw":
        optimizer = torch.optim.AdamW(groups, settings.lr, (settings.momentum, 0.999), fused=True)
    else:
        nesterov = settings.momentum > 0
        optimizer = torch.optim.SGD(groups, settings.lr, settings.momentum, nesterov=nesterov, fused=True)
    still(optimizer)
    return optimizer


def still(optimizer: torch.optim.Optimizer) -> None:
    """Averages of zero everywhere: what an optimiser starts from, spelled out since fused code takes no absence."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            if isinstance(optimizer, torch.optim.SGD):
                state["momentum_buffer"] = torch.zeros_like(parameter)
            else:
                state["step"] = torch.zeros((), device=parameter.device)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The state of every parameter in its shape, by names such as `momentum_buffer.0.conv.weight`."""
    return {
        f"{key}.{name}": tensor
        for name, parameter in model.named_parameters()
        for key, tensor in optimizer.state[parameter].items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Take over what `optimizer_tensors` gave, in the same shapes."""
    for name, own in optimizer_tensors(optimizer, model).items():
        own.copy_(tensors[name])
