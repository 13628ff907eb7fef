"""Scores of networks that no training has touched: columns beside what supernets say, for the price of a batch each."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.ranking.lite0_pictures import Pictures
from benchmarks.ranking.lite0_problem import started
from pipeline.fewshot.gradients import network_gradient
from pipeline.spaces.architecture import Architecture
from pipeline.supernets.augment import resize
from pipeline.supernets.network import Network

IMAGES = 32


def zero_cost(archs: Sequence[Architecture], pictures: Pictures) -> list[dict[str, float]]:
    """`nonlinearities`, `naswot` and `gradient_norm` of each network with the published weights, higher is better."""
    supernet = started(0, pictures.classes)
    chosen = torch.arange(IMAGES)
    images, labels = pictures.train.normalised(chosen), pictures.train.labels[chosen]
    found = []
    for arch in archs:
        network = supernet.extract(arch)
        gradients = network_gradient(supernet, arch, images, labels)
        squares = sum(float((one**2).sum()) for one in gradients if one is not None)
        found.append(
            {
                "nonlinearities": float(len(activations(network))),
                "naswot": naswot(network, images),
                "gradient_norm": math.sqrt(squares),
            }
        )
    return found


def activations(network: Network) -> list[nn.Module]:
    """The nonlinear layers (what EFS-NAS, Zhang et al. 2024, groups networks by is their number)."""
    return [module for module in network.modules() if isinstance(module, nn.ReLU6)]


@torch.no_grad()
def naswot(network: Network, images: Tensor) -> float:
    """Log determinant of how many units each two of `images` (n, 3, h, w) switch alike (Mellor et al. 2021)."""
    alike = np.zeros((len(images), len(images)))

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        on = (output.flatten(1) > 0).float()
        alike[:] += (on @ on.T + (1 - on) @ (1 - on).T).numpy()

    hooks = [module.register_forward_hook(count) for module in activations(network)]
    network.train()(resize(images, network.resolution))
    for hook in hooks:
        hook.remove()
    return float(np.linalg.slogdet(alike)[1])
