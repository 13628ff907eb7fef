"""The gradient of a validation loss through one step of training (Liu et al. 2019, "DARTS", eq. 7 and 8)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_REACH = 0.01  # over the norm of the direction: how far the finite difference steps


def hypergradient(
    weights: Sequence[Tensor],
    gates: Sequence[Tensor],
    training: Callable[[], Tensor],
    validation: Callable[[], Tensor],
    lr: float,
) -> list[Tensor]:
    """d validation(w', gates) / d gates at w' = w - lr * d training(w, gates) / d w.

    The product with the second derivative is a finite difference of two training gradients, exact where the training
    loss is quadratic. `weights` are left as they were. `training` and `validation` compute their losses anew.
    """
    saved = [weight.detach().clone() for weight in weights]
    step = _gradients(training(), weights)
    _move(weights, saved, step, -lr)
    loss = validation()
    direct = _gradients(loss, [*gates, *weights])
    gate_part, direction = direct[: len(gates)], direct[len(gates) :]
    norm = torch.sqrt(sum((part.square().sum() for part in direction), loss.new_zeros(())))
    reach = _REACH / float(norm.clamp(min=1e-12))
    _move(weights, saved, direction, reach)
    above = _gradients(training(), gates)
    _move(weights, saved, direction, -reach)
    below = _gradients(training(), gates)
    _move(weights, saved, saved, 0.0)
    return [g - lr * (a - b) / (2 * reach) for g, a, b in zip(gate_part, above, below, strict=True)]


def _gradients(loss: Tensor, of: Sequence[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(loss, of, allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, of, strict=True)]


@torch.no_grad()
def _move(weights: Sequence[Tensor], start: Sequence[Tensor], along: Sequence[Tensor], by: float) -> None:
    for weight, origin, direction in zip(weights, start, along, strict=True):
        weight.copy_(origin if by == 0 else origin + by * direction)
