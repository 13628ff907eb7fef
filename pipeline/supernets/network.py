"""A plain static network: what is fine-tuned, exported and measured."""

from collections.abc import Iterable

import torch
from torch import nn

from latency_tables.blocks import Block
from pipeline.spaces.space import BATCHNORM_EPS
from pipeline.supernets.modules import BlockModule, initialise


class Network(nn.Sequential):
    """The network that a list of blocks spells; (n, 3, s, s) float32 -> logits (n, classes).

    `s` is `resolution`, though other sizes run too. Weights come from `seed` and are kept in channels_last
    order, which CPUs prefer.
    """

    def __init__(self, blocks: Iterable[Block], seed: int = 0, batchnorm_eps: float = BATCHNORM_EPS) -> None:
        super().__init__(*(BlockModule(block, batchnorm_eps) for block in blocks))
        initialise(self, seed)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def of(cls, modules: Iterable[BlockModule]) -> "Network":
        """The network that runs `modules` one after the other, with the weights they have."""
        network = cls(())
        network.extend(modules)
        return network

    @property
    def blocks(self) -> tuple[Block, ...]:
        """What a device executes, in order."""
        return tuple(module.block for module in self if isinstance(module, BlockModule))

    @property
    def batchnorm_eps(self) -> float:
        """What every BatchNorm adds to variances."""
        return next(module.batchnorm_eps for module in self if isinstance(module, BlockModule))

    @property
    def resolution(self) -> int:
        """Height and width of the input, in pixels."""
        return self.blocks[0].in_size

    @property
    def classes(self) -> int:
        """Length of the logits."""
        return self.blocks[-1].out_channels
