"""A block as a plain `nn.Module`: standard layers under stable names, nothing elastic.

Names: a conv has `conv` and `norm`; an mbconv has `expand`, `expand_norm`, `depthwise`, `depthwise_norm`,
`squeeze.reduce`, `squeeze.expand`, `project` and `project_norm`, as far as it has them; a mix has `conv`; a
hidden layer or a classifier has `linear`.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latency_tables.blocks import Activation, Block
from pipeline.spaces.space import BATCHNORM_EPS
from pipeline.supernets.depthwise import DepthwiseConv2d
from pipeline.supernets.distributed import BatchNorm

ACTIVATIONS: Final[dict[Activation, Callable[[], nn.Module]]] = {
    "none": nn.Identity,
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "hswish": nn.Hardswish,
    "silu": nn.SiLU,
}


class VectorConv2d(nn.Conv2d):
    """A 1x1 convolution of (n, c, 1, 1), computed as a matrix product: oneDNN takes twice as long for it on CPUs."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) -> (n, out_channels, h, w)."""
        exporting = torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting()
        if exporting or x.shape[-2:] != (1, 1):
            return super().forward(x)  # devices run it, and tables know it, as a convolution
        return F.linear(x.flatten(1), self.weight.flatten(1), self.bias)[:, :, None, None]


class SqueezeExcite(nn.Module):
    """Channels scaled by a gate computed from their global averages (Hu et al. 2018); (n, c, h, w) -> the same."""

    def __init__(self, channels: int, hidden: int, smooth: bool) -> None:
        super().__init__()
        self.reduce = VectorConv2d(channels, hidden)
        self.act = nn.SiLU() if smooth else nn.ReLU(inplace=True)
        self.expand = VectorConv2d(hidden, channels)
        self.gate = nn.Sigmoid() if smooth else nn.Hardsigmoid()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) -> the same shape."""
        gate: Tensor = self.gate(self.expand(self.act(self.reduce(self.pool(x)))))
        return x * gate


class BlockModule(nn.Sequential):
    """One block; (n, in_channels, s, s) -> (n, out_channels, s', s'), a classifier -> (n, classes).

    Its weights are uninitialised noise of torch's defaults until `initialise` or a state dict sets them.
    """

    def __init__(self, block: Block, batchnorm_eps: float = BATCHNORM_EPS) -> None:
        super().__init__(_layers(block, partial(BatchNorm, eps=batchnorm_eps)))
        self.block = block
        self.batchnorm_eps = batchnorm_eps

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, s, s) -> (n, out_channels, s', s') or (n, classes)."""
        y = x
        for layer in self:
            y = layer(y)
        return x + y if self.block.residual else y


def _layers(block: Block, norm: Callable[[int], nn.Module]) -> "OrderedDict[str, nn.Module]":
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    c, m, o = block.in_channels, block.mid_channels, block.out_channels

    def activate(name: str) -> None:
        if block.activation != "none":
            layers[name] = ACTIVATIONS[block.activation]()

    match block.kind:
        case "conv":
            before, after = block.pads
            if before != after:
                layers["pad"] = nn.ZeroPad2d((before, after, before, after))
            padding = before if before == after else 0
            layers["conv"] = nn.Conv2d(c, o, block.kernel, block.stride, padding, bias=False)
            layers["norm"] = norm(o)
            activate("act")
        case "mbconv":
            if block.expands:
                layers["expand"] = nn.Conv2d(c, m, 1, bias=False)
                layers["expand_norm"] = norm(m)
                activate("expand_act")
            layers["depthwise"] = DepthwiseConv2d(m, block.kernel, block.stride, block.pads)
            layers["depthwise_norm"] = norm(m)
            activate("depthwise_act")
            if block.se_channels:
                layers["squeeze"] = SqueezeExcite(m, block.se_channels, block.activation == "silu")
            layers["project"] = nn.Conv2d(m, o, 1, bias=False)
            layers["project_norm"] = norm(o)
        case "pool":
            layers["pool"] = nn.AdaptiveAvgPool2d(1)
        case "mix":
            layers["conv"] = VectorConv2d(c, o, bias=False)
            activate("act")
        case "linear":
            layers["flatten"] = nn.Flatten()
            layers["linear"] = nn.Linear(c, o)
            activate("act")
    return layers


def initialise(module: nn.Module, seed: int) -> None:
    """Set every weight below `module` anew, from `seed` alone: He et al. 2015, fan-out; classifiers uniform."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels / layer.groups
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / fan_out), generator=generator)
        elif isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
