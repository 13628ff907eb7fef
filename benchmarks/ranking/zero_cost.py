"""Scores of networks that no training has touched, for the price of a batch or two each; higher is better in all.

What each computes was read in its public code and written anew; of the two papers only the abstracts were at hand, and
of WRCor's equations 10 and 11 a summary, which agrees with the code. Networks are left as they are.

AZ-NAS (Lee & Ham 2024, arXiv 2403.19232) sees white noise through a network of random weights. Changed, as this
product's blocks differ: features are what `conv` and `mbconv` blocks give, which for an mbconv has no last ReLU; where
a stride leaves a rest, the gradient of the input is filled up with zeros before its pixels become channels.

WRCor (Jing et al. 2025, arXiv 2507.08841) multiplies by 2 from layer to layer and does not normalise, so each further
layer adds log 2 for each image, whatever the layer does. Not verified: that a layer is what is a block here, and which
weights and images its paper's experiments had. SiLU and hard swish count here, the code knows ReLU only.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from torch import Tensor, nn

from latency_tables.blocks import total_macs
from pipeline.ranking.weighted import Floats
from pipeline.supernets.augment import resize
from pipeline.supernets.modules import BlockModule
from pipeline.supernets.network import Network

NONLINEARITIES = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU)  # gates are none
_ENTROPY_EPS, _NORM_EPS = 1e-8, 1e-6
PARTS = ("expressivity", "progressivity", "trainability")  # of AZ-NAS, beside MACs
WEIGHTS = (0.5, 1.0)  # of a further column of the ranker, beside its own, which add up to 2


def activations(network: nn.Module) -> list[nn.Module]:
    """The nonlinear layers (what EFS-NAS, Zhang et al. 2024, groups networks by is their number)."""
    return [module for module in network.modules() if isinstance(module, NONLINEARITIES)]


@torch.no_grad()
def naswot(network: Network, images: Tensor) -> float:
    """Log determinant of how many units each two of `images` (n, 3, h, w) switch alike (Mellor et al. 2021)."""
    alike = np.zeros((len(images), len(images)))

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        on = (output.flatten(1) > 0).float()
        alike[:] += (on @ on.T + (1 - on) @ (1 - on).T).numpy()

    network = _training_copy(network)
    for module in activations(network):
        module.register_forward_hook(count)
    network(resize(images, network.resolution))
    return float(np.linalg.slogdet(alike)[1])


def gradient_norm(network: Network, images: Tensor, labels: Tensor) -> float:
    """Of all weights together, on the cross-entropy of `images` (n, 3, h, w) and `labels` (n,)."""
    network = _training_copy(network).requires_grad_()
    loss = F.cross_entropy(network(resize(images, network.resolution)), labels)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    return math.sqrt(sum(float((one**2).sum()) for one in gradients))


def response_correlation(network: Network, images: Tensor, labels: Tensor) -> float:
    """WRCor: log |det| of how alike any two of `images` (n, 3, h, w), with `labels` (n,), are to each nonlinearity.

    Alike is the absolute correlation of what goes into it, and of the cross-entropy's gradient by that; a block weighs
    twice as much as the one before it.
    """
    alike = torch.zeros(len(images), len(images), dtype=torch.float64)

    def add(responses: Tensor, weight: float) -> None:
        found = correlation(responses)
        if found is not None:
            alike.add_(found.abs(), alpha=weight)

    def hook(weight: float) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            # Hooked before the layer runs, as it may overwrite what goes in.
            going_in: Any = inputs[0]  # torch leaves register_hook untyped
            add(going_in.detach(), weight)
            going_in.register_hook(lambda gradient: add(gradient, weight))

        return look

    network = _training_copy(network)
    for place, block in enumerate(network):
        for module in activations(block):
            module.register_forward_pre_hook(hook(2.0**place))
    pixels = resize(images, network.resolution).detach().requires_grad_()
    torch.autograd.grad(F.cross_entropy(network(pixels), labels), pixels)
    return float(torch.linalg.slogdet(alike).logabsdet)


def correlation(responses: Tensor) -> Tensor | None:
    """Pearson's correlation of any two of n responses, float64 (n, n); None where one of them is constant."""
    rows = responses.flatten(1).double()
    rows = rows - rows.mean(1, keepdim=True)
    norms = rows.norm(dim=1, keepdim=True)
    if not bool((norms > 0).all()):
        return None
    rows = rows / norms
    found: Tensor = rows @ rows.T
    return found


@dataclass(frozen=True, slots=True)
class AzNas:
    """The four scores of one network."""

    expressivity: float  # nats, summed over blocks
    progressivity: float  # nats
    trainability: float  # at most 0
    complexity: float  # MACs


def az_nas(network: Network, seed: int, images: int) -> AzNas:
    """The scores with weights, noise images and directions from `seed`; the network has two or more convolutions."""
    generator = torch.Generator().manual_seed(seed)
    network = _training_copy(network)
    he_fan_in(network, generator)
    features = torch.randn(images, 3, network.resolution, network.resolution, generator=generator)
    entropies: list[float] = []
    norms: list[float] = []
    for block in network:
        if not isinstance(block, BlockModule) or block.block.kind not in ("conv", "mbconv"):
            break
        if entropies:
            features, norm = jacobian_norm(block, features, generator)
            norms.append(norm)
        else:
            features = block(features).detach()
        entropies.append(spectral_entropy(features))
    return AzNas(
        sum(entropies),
        min(after - before for before, after in pairwise(entropies)),
        float(np.mean([isometry(norm) for norm in norms])),
        total_macs(network.blocks),
    )


def assembled(scores: Floats) -> Floats:
    """AZ-NAS of n networks that are ranked together, shape (n,), from their four scores, (n, 4).

    The sum of log(rank / n) by each of the four; the last rank is 1, ties share theirs.
    """
    return np.asarray(np.log(rankdata(scores, axis=0) / len(scores)).sum(1))


def with_column(ranker: Floats, column: Floats, weight: float) -> Floats:
    """The ranker's values, shape (n,), with a further column, in its standard deviations over the same networks."""
    return np.asarray(ranker + weight * (column - column.mean()) / (column.std() or np.inf))


def spectral_entropy(features: Tensor) -> float:
    """Entropy, nats, of the normalised eigenvalues of the covariance of the channels of (n, c, h, w), at most log c."""
    rows = features.detach().permute(0, 2, 3, 1).flatten(0, 2).double()
    rows = rows - rows.mean(0)
    # Either product has the eigenvalues that are not 0; the smaller one is quicker.
    square = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    eigenvalues = torch.linalg.eigvalsh(square).clamp(min=0)
    shares = eigenvalues / eigenvalues.sum()
    return float(-(shares * (shares + _ENTROPY_EPS).log()).sum())


def isometry(norm: float) -> float:
    """How near a spectral norm is to 1, at which gradients neither vanish nor explode: 0 there, else less."""
    return 2 - norm - 1 / (norm + _NORM_EPS)


def jacobian_norm(block: nn.Module, features: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
    """What `block` makes of `features` (n, c, h, w), and an estimate of the spectral norm of its Jacobian.

    That of the mean, over places, of g_in g_out^T, with random signs g_out and what they become backwards, g_in. It is
    too large where places are few for the channels.
    """
    inputs = features.detach().requires_grad_()
    outputs = block(inputs)
    signs = (torch.rand(outputs.shape, generator=generator) < 0.5).to(outputs.dtype) * 2 - 1
    (gradient,) = torch.autograd.grad(outputs, inputs, signs)
    height, width = outputs.shape[-2:]
    stride = -(-gradient.shape[-1] // width)
    if stride > 1:
        gradient = F.pad(gradient, (0, width * stride - gradient.shape[-1], 0, height * stride - gradient.shape[-2]))
        gradient = F.pixel_unshuffle(gradient, stride)
    g_in, g_out = (one.permute(0, 2, 3, 1).flatten(0, 2).double() for one in (gradient, signs))
    mean = g_in.T @ g_out / len(g_out)
    square = mean @ mean.T if mean.shape[0] < mean.shape[1] else mean.T @ mean
    return outputs.detach(), float(torch.linalg.eigvalsh(square)[-1].clamp(min=0).sqrt())


def he_fan_in(network: nn.Module, generator: torch.Generator) -> None:
    """Set every weight anew: He et al. 2015, fan-in; no biases, BatchNorm does nothing but normalise."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()


def _training_copy(network: Network) -> Network:
    """One whose BatchNorm uses the batch's statistics, and whose weights need no gradient."""
    return copy.deepcopy(network).train().requires_grad_(False)
