"""BatchNorm statistics of a network, averaged exactly instead of followed with momentum."""

from collections.abc import Iterable
from itertools import pairwise
from queue import SimpleQueue

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pipeline.errors import PipelineError
from pipeline.supernets.lanes import side_by_side
from pipeline.supernets.meta_block import twin
from pipeline.supernets.modules import BlockModule


def reestimate_batchnorm(network: nn.Module, batches: Iterable[Tensor], lanes: int = 1) -> None:
    """Set each BatchNorm's running mean and variance to the average of those of `batches` (n, 3, s, s).

    A batch counts by its number of images; variances are unbiased, as torch stores them. All layers normalise
    with the statistics of the batch at hand meanwhile, as in training. The same batches give the same bits.
    Weights and the training mode are left as they were. So many `lanes` are threads that take a batch each. Raises
    PipelineError where there is no batch.
    """
    modes = [(layer, layer.training) for layer in network.modules()]
    momenta = [(norm, norm.momentum) for norm in _norms(network)]
    network.eval()
    for norm, _ in momenta:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = 1.0  # the statistics of the last batch, which are averaged here
    free: SimpleQueue[nn.Module] = SimpleQueue()
    for each in (network, *(twin(network) for _ in range(lanes - 1))):
        free.put(each)

    @torch.no_grad()
    def of_batch(batch: Tensor) -> tuple[int, list[Tensor]]:
        each = free.get()
        try:
            each(batch)
            return len(batch), [statistic.clone() for statistic in _statistics(each)]
        finally:
            free.put(each)

    seen, average = 0, [torch.zeros_like(statistic) for statistic in _statistics(network)]
    try:
        for size, found in side_by_side(of_batch, batches, lanes):
            seen += size
            for total, statistic in zip(average, found, strict=True):
                total.lerp_(statistic, size / seen)
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum
        for layer, training in modes:
            layer.training = training
    if not seen:
        raise PipelineError("BatchNorm statistics cannot be estimated from 0 images; give at least one batch")
    for own, total in zip(_statistics(network), average, strict=True):
        own.copy_(total)


def _norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]


def _statistics(network: nn.Module) -> list[Tensor]:
    """The running means and variances of a network."""
    found = [(norm.running_mean, norm.running_var) for norm in _norms(network)]
    return [statistic for pair in found for statistic in pair if statistic is not None]


def fold_batchnorm(network: nn.Module) -> None:
    """Merge each BatchNorm of our blocks into the convolution before it, for good.

    In evaluation mode the network computes what it did, a tenth quicker; it can no longer be trained.
    """
    for block in network.modules():
        if not isinstance(block, BlockModule):
            continue
        layers = list(block.named_children())
        for (_, conv), (name, norm) in pairwise(layers):
            if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            if norm.running_mean is None or norm.running_var is None:
                raise PipelineError("a BatchNorm without statistics cannot be folded; re-estimate them first")
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            block.set_submodule(name, nn.Identity())
