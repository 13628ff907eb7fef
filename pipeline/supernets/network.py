"""A plain static network: what is fine-tuned, exported and measured."""

from collections.abc import Iterable

import torch
from torch import nn

from latency_tables.blocks import Block
from pipeline.supernets.modules import BlockModule, initialise


class Network(nn.Sequential):
    """The network that a list of blocks spells; (n, 3, s, s) float32 -> logits (n, classes).

    `s` is `resolution`, though other sizes run too. Weights come from `seed`; with `seed=None` they are left
    unset, for a caller that fills them. Weights are kept in channels_last order, which CPUs prefer.
    """

    def __init__(self, blocks: Iterable[Block], seed: int | None = 0) -> None:
        self_blocks = tuple(blocks)
        super().__init__(*map(BlockModule, self_blocks))
        self.blocks = self_blocks
        if seed is not None:
            initialise(self, seed)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def resolution(self) -> int:
        """Height and width of the input, in pixels."""
        return self.blocks[0].in_size

    @property
    def classes(self) -> int:
        """Length of the logits."""
        return self.blocks[-1].out_channels
