"""A published network, layer by layer under our own names, whatever its file called them.

It says what the tensors say: channels, kernels, squeeze widths. Strides, activations, padding and BatchNorm's
epsilon are not in a file of weights; a space has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pipeline.supernets.shared_weights import AXES, Channels

Tensors = Mapping[str, Tensor]  # by their names in a `BlockModule`


@dataclass(frozen=True, eq=False)
class Layer:
    """One mbconv. `transforms` are a supernet's kernel transform matrices, by names such as `7to5`."""

    tensors: Tensors
    transforms: Tensors = field(default_factory=dict)

    @property
    def expands(self) -> bool:
        """Whether it begins with a 1x1 expansion."""
        return "expand.weight" in self.tensors

    @property
    def in_channels(self) -> int:
        """Channels it takes."""
        return self.tensors["expand.weight"].shape[1] if self.expands else self.mid_channels

    @property
    def mid_channels(self) -> int:
        """Channels of the depthwise convolution."""
        return len(self.tensors["depthwise.weight"])

    @property
    def out_channels(self) -> int:
        """Channels it gives."""
        return len(self.tensors["project.weight"])

    @property
    def se_channels(self) -> int:
        """Hidden channels of squeeze-and-excitation, 0 without."""
        reduce = self.tensors.get("squeeze.reduce.weight")
        return 0 if reduce is None else len(reduce)

    @property
    def kernel(self) -> int:
        """Height and width of the depthwise kernel."""
        return self.tensors["depthwise.weight"].shape[-1]

    def ordered(self, channels: Channels, order: Tensor) -> "Layer":
        """The same with its `channels` ("in", "mid", "se" or "out") in another `order`, a permutation of shape (n,)."""
        # Where nothing expands, what comes in is what the depthwise convolution has.
        meant = {channels, "mid"} if channels == "in" and not self.expands else {channels}
        tensors = {}
        for name, tensor in self.tensors.items():
            for axis, meaning in enumerate(AXES[name.rpartition(".")[0]][: tensor.dim()]):
                if meaning in meant:
                    tensor = tensor.index_select(axis, order)
            tensors[name] = tensor
        return replace(self, tensors=tensors)


@dataclass(frozen=True, eq=False)
class Published:
    """A stem, layers, and a head whose parts are `conv`, then maybe `mix` or `hidden`, then `linear`.

    `elastic`: the weights of a supernet, whose leading channels are networks already and must keep their order.
    `folded`: its BatchNorms were merged into the convolutions; variances are 1 less the epsilon of whoever takes them.
    """

    naming: str
    stem: Tensors
    layers: tuple[Layer, ...]
    head: Mapping[str, Tensors]
    elastic: bool = False
    folded: bool = False

    @property
    def classes(self) -> int:
        """Length of the logits."""
        return len(self.head["linear"]["linear.weight"])

    @property
    def params(self) -> int:
        """Trainable parameters, kernel transforms apart."""
        parts = [self.stem, *(layer.tensors for layer in self.layers), *self.head.values()]
        return sum(tensor.numel() for part in parts for name, tensor in part.items() if ".running_" not in name)

    @property
    def tensors(self) -> int:
        """How many tensors were placed, kernel transforms included."""
        inside = sum(len(layer.tensors) + len(layer.transforms) for layer in self.layers)
        return len(self.stem) + inside + sum(map(len, self.head.values()))

    def stages(self) -> tuple[tuple[Layer, ...], ...]:
        """The layers; a new stage begins wherever the number of channels changes."""
        stages: list[list[Layer]] = []
        for layer in self.layers:
            if not stages or layer.in_channels != layer.out_channels:
                stages.append([])
            stages[-1].append(layer)
        return tuple(map(tuple, stages))

    def with_variances(self, value: float) -> "Published":
        """The same with every running variance set to `value`."""

        def changed(tensors: Tensors) -> dict[str, Tensor]:
            return {
                name: torch.full_like(tensor, value) if name.endswith("running_var") else tensor
                for name, tensor in tensors.items()
            }

        return replace(
            self,
            stem=changed(self.stem),
            layers=tuple(replace(layer, tensors=changed(layer.tensors)) for layer in self.layers),
            head={kind: changed(tensors) for kind, tensors in self.head.items()},
        )
