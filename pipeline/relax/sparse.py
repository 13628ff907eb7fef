"""Sparse Bayesian learning of switches (Zhou et al. 2019, "BayesNAS"): which of them the data need."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.errors import PipelineError

_LEAST = 1e-10


def reweighted(
    switches: Tensor, curvature: Tensor, gamma: Tensor, parents: Sequence[int | None]
) -> tuple[Tensor, Tensor]:
    """New prior variances `gamma` (switches,) and penalty weights `omega` (switches,) of one round.

    `switches` are (switches,) or (switches, members) for groups that live or die together. `curvature` is the
    diagonal second derivative of the negative log likelihood, `gamma` the variances of the last round. Under its
    hierarchical prior a switch is no likelier than the one it depends on: 1 / gamma adds up along `parents`, which
    stand before their children, so that a dead one kills what depends on it. (Zhou et al. 2019, algorithm 1.)
    """
    if any(parent is not None and parent >= place for place, parent in enumerate(parents)):
        raise PipelineError("a switch must stand after the one that it depends on")
    members = switches.reshape(len(switches), -1)
    inverse = 1 / gamma.clamp(min=_LEAST)
    covariance = 1 / (inverse + curvature.clamp(min=0))
    each = (inverse - covariance * inverse.square()).abs()
    omega = (members.shape[1] * each).clamp(min=_LEAST).sqrt()
    inverse = omega / members.norm(dim=1).clamp(min=_LEAST)
    totals: list[Tensor] = []
    for place, parent in enumerate(parents):
        totals.append(inverse[place] + (totals[parent] if parent is not None else 0.0))
    return 1 / torch.stack(totals) if totals else gamma, omega


def gauss_newton_diagonal(logits: Tensor, parameter: Tensor, generator: torch.Generator, draws: int) -> Tensor:
    """An unbiased estimate of the mean over images of the diagonal Gauss-Newton matrix of cross-entropy.

    `logits` (n, classes) must depend on `parameter`. Labels are drawn from the network's own answers, and images get
    random signs, so that the square of one summed gradient stands for the sum of their squares: `draws` backward
    passes, whatever the number of images, classes and parameters.
    """
    chances = logits.detach().softmax(1).cpu()  # where the generator draws
    total = torch.zeros_like(parameter)
    for _ in range(draws):
        labels = torch.multinomial(chances, 1, generator=generator)
        signs = torch.randint(0, 2, (len(logits), 1), generator=generator) * 2.0 - 1.0
        root = signs * (torch.zeros_like(chances).scatter_(1, labels, 1.0) - chances)
        (gradient,) = torch.autograd.grad(logits, parameter, root.to(logits), retain_graph=True)
        total += gradient.square()
    return total / (draws * len(logits))
