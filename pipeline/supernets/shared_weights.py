"""The weights that all blocks of one position share, and the slices of them that a block is made of.

They are those of a block module of the largest shape, so that its tensors have the names of a block's. A smaller block
takes the leading channels of every axis; a smaller kernel is the centre of the next larger one, transformed by
a learned matrix (Cai et al. 2020, section 3.3, "elastic kernel size").
"""

from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latency_tables.blocks import Block
from pipeline.supernets.meta_block import tensor_places
from pipeline.supernets.modules import BlockModule

Channels = Literal["in", "mid", "se", "out"]
_Place = tuple[dict[str, Any], str, str, tuple[int, ...] | None]  # container, key in it, name, shape of the part
_OUT_IN: Final[tuple[Channels, ...]] = ("out", "in")
AXES: Final[dict[str, tuple[Channels, ...]]] = {
    "expand": ("mid", "in"),
    "expand_norm": ("mid",),
    "depthwise": ("mid",),
    "depthwise_norm": ("mid",),
    "squeeze.reduce": ("se", "mid"),
    "squeeze.expand": ("mid", "se"),
    "project": ("out", "mid"),
    "project_norm": ("out",),
    "conv": _OUT_IN,
    "norm": ("out",),
    "linear": _OUT_IN,
}  # the leading axes of each layer's tensors; a bias or a BatchNorm tensor has the first one only


class SharedWeights(nn.Module):
    """Shared weights of one position; `largest` bounds every block that it serves.

    `kernels` holds every odd size between the largest and the smallest kernel of the position: the chain of
    transforms goes through all of them, so that a region of the space keeps its parent's chain. `sortable`:
    every block it serves expands, so that its middle channels have no meaning outside of it.
    """

    def __init__(self, largest: Block, smallest_kernel: int, sortable: bool) -> None:
        super().__init__()
        self.sortable = sortable
        self.weights = BlockModule(largest)
        self.kernels = tuple(range(largest.kernel, smallest_kernel - 1, -2))
        self.transforms = nn.ParameterDict({_step(after): torch.eye(after * after) for after in self.kernels[1:]})
        self._names = [
            (name, AXES[name.rpartition(".")[0]])
            for name in self.weights.state_dict()
            if not name.endswith("num_batches_tracked")
        ]
        places = tensor_places(self.weights)
        self._places = [(*places[name], name, axes) for name, axes in self._names]
        self._cuts: dict[Block, list[_Place]] = {}

    def slices(self, block: Block) -> dict[str, Tensor]:
        """The tensors of `block` by their names and in their shapes in a `BlockModule(block)`: views where nothing is
        transformed."""
        places = self._cuts.get(block)
        if places is None:
            places = self._cuts[block] = self._cut(block)
        # One strided view, whose gradient fills one tensor of zeros, instead of a slice for each axis.
        sliced = {
            name: tensors[leaf] if cut is None else tensors[leaf].as_strided(cut, tensors[leaf].stride())
            for tensors, leaf, name, cut in places
        }
        if "depthwise.weight" in sliced:
            sliced["depthwise.weight"] = self.kernel(sliced["depthwise.weight"], block.kernel)
        return sliced

    def _cut(self, block: Block) -> list[_Place]:
        """Where each tensor of `block` is, and the shape of its part, None where that is all of it."""
        sizes: dict[Channels, int] = {
            "in": block.in_channels,
            "mid": block.mid_channels,
            "se": block.se_channels,
            "out": block.out_channels,
        }
        places: list[_Place] = []
        for tensors, leaf, name, axes in self._places:
            if name.startswith("expand") and not block.expands:
                continue
            if name.startswith("squeeze") and not block.se_channels:
                continue
            shape = tensors[leaf].shape
            cut = tuple(sizes[axis] for axis in axes[: len(shape)])
            places.append((tensors, leaf, name, None if shape[: len(cut)] == cut else cut + tuple(shape[len(cut) :])))
        return places

    def kernel(self, weight: Tensor, kernel: int) -> Tensor:
        """`weight` (channels, 1, K, K), transformed step by step to (channels, 1, kernel, kernel)."""
        for after in self.kernels[1:]:
            if weight.shape[-1] == kernel:
                break
            centre = weight[:, :, 1:-1, 1:-1].reshape(len(weight), after * after)
            weight = F.linear(centre, self.transforms[_step(after)]).view(-1, 1, after, after)
        return weight

    @torch.no_grad()
    def sort_channels(self) -> None:
        """Reorder the middle channels, most important first, by the L1 norm of the projection that reads them.

        The largest block computes the same as before (Cai et al. 2020, section 3.3, "elastic width"). The
        hidden channels of squeeze-and-excitation are sorted likewise.
        """
        if not self.sortable:
            return
        state = self.weights.state_dict()
        self._reorder(state, "mid", state["project.weight"])
        if self.weights.block.se_channels:
            self._reorder(state, "se", state["squeeze.expand.weight"])

    def _reorder(self, state: dict[str, Tensor], channels: Channels, reader: Tensor) -> None:
        order = reader.abs().sum(dim=(0, 2, 3)).argsort(descending=True, stable=True)
        for name, axes in self._names:
            for axis, meaning in enumerate(axes[: state[name].dim()]):
                if meaning == channels:
                    state[name].copy_(state[name].index_select(axis, order))

    @torch.no_grad()
    def load(self, parent: "SharedWeights") -> None:
        """Take over what these smaller weights can use of `parent`; every block of it then computes the same."""
        own = self.weights.state_dict()
        for name, tensor in parent.slices(self.weights.block).items():
            own[name].copy_(tensor)
        for name, matrix in self.transforms.items():
            matrix.copy_(parent.transforms[name])


def _step(after: int) -> str:
    return f"{after + 2}to{after}"
