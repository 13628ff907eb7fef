"""A supernet run with gates: every choice of a space computed at once on the same shared weights.

A layer is computed once, at its largest shape (Stamoulis et al. 2019, "superkernel"): its kernels are mixed into one,
its middle channels are each weighted by the ops that have them, and so are the channels of a stage by its widths and
a layer by its depths. Weights of 0 and 1 give exactly the network that they stand for. Ops whose weights are not
shared are computed beside each other and their outputs mixed.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from latency_tables.blocks import Block
from pipeline.relax.gates import Gates, StageGates, real_ops
from pipeline.spaces.architecture import SKIP, Op
from pipeline.spaces.stage import Stage
from pipeline.supernets.meta_block import MetaBlock
from pipeline.supernets.modules import BlockModule, SqueezeExcite
from pipeline.supernets.shared_weights import SharedWeights
from pipeline.supernets.supernet import Supernet, head_keys, position_key

Weighted = list[tuple[Tensor, Block]]  # blocks of the same shared weights, with weights that sum to 1
_NOTHING = 1e-12


class Relaxation:
    """Runs the weights of `supernet`, which is trained through it; it owns none."""

    def __init__(self, supernet: Supernet) -> None:
        self.supernet, self.space = supernet, supernet.space
        self._templates: dict[tuple[str, Block], MetaBlock] = {}
        self._masks: dict[str, _Masks] = {}

    def __call__(self, x: Tensor, gates: Gates) -> Tensor:
        """Logits (n, classes) of images (n, 3, s, s); `gates.resolutions` is for whoever scales the images."""
        x = self._plain("stem", self.space.stem_block(x.shape[-1]), x)
        inputs = [(x.new_ones(()), self.space.stem.channels)]
        for number, (stage, own) in enumerate(zip(self.space.stages, gates.stages, strict=True), 1):
            x = self._stage(number, stage, own, inputs, x)
            inputs = list(zip(own.widths, stage.widths, strict=True))
        blocks = self.space.head_blocks(x.shape[-1], inputs[-1][1])
        for key, block in zip(head_keys(blocks), blocks, strict=True):
            x = self._plain(key, block, x)
        return x

    def _stage(
        self, number: int, stage: Stage, own: StageGates, inputs: Sequence[tuple[Tensor, int]], x: Tensor
    ) -> Tensor:
        mask = _reach(own.widths, stage.widths, x)
        x = mask * self._first_layer(number, stage, own, inputs, x)
        widths = list(zip(own.widths, stage.widths, strict=True))
        for layer, there in list(enumerate(own.presence(stage), 1))[1:]:
            x = x + there * mask * self._ops(number, layer, stage, own.ops[layer - 1], widths, x)
        return x

    def _first_layer(
        self, number: int, stage: Stage, own: StageGates, inputs: Sequence[tuple[Tensor, int]], x: Tensor
    ) -> Tensor:
        width, projected = stage.widths[-1], None
        if SKIP in stage.slots[0]:
            projection = stage.first_block(x.shape[-1], inputs[-1][1], width, SKIP)
            projected = self._plain(position_key(number, 1, SKIP, self.supernet.sharing), projection, x)
        if not real_ops(stage.slots[0]) and projected is not None:
            return projected
        y = self._ops(number, 1, stage, own.ops[0], inputs, x)
        if stage.stride == 1:
            own_weights = dict(zip(stage.widths, own.widths, strict=True))
            same = sum((weight * own_weights[c] for weight, c in inputs if c in own_weights), x.new_zeros(()))
            y = y + same * _channels(x, width)
        return y if projected is None else own.keep * y + (1 - own.keep) * projected

    def _ops(
        self, number: int, layer: int, stage: Stage, weights: Tensor, inputs: Sequence[tuple[Tensor, int]], x: Tensor
    ) -> Tensor:
        """A layer's ops without their residual: a superkernel for each of its weights, mixed by the ops' gates."""
        groups: dict[str, list[tuple[Tensor, Op]]] = {}
        for weight, op in zip(weights, real_ops(stage.slots[layer - 1]), strict=True):
            groups.setdefault(position_key(number, layer, op, self.supernet.sharing), []).append((weight, op))
        if len(groups) == 1:
            ((key, ops),) = groups.items()
            return self._superkernel(key, self._joint(layer, stage, ops, inputs, x), x)
        outputs = []
        for key, ops in groups.items():  # each op with weights of its own
            ((weight, op),) = ops
            outputs.append(
                weight * self._superkernel(key, self._joint(layer, stage, [(x.new_ones(()), op)], inputs, x), x)
            )
        return torch.stack(outputs).sum(0)

    def _joint(
        self,
        layer: int,
        stage: Stage,
        ops: Sequence[tuple[Tensor, Op]],
        inputs: Sequence[tuple[Tensor, int]],
        x: Tensor,
    ) -> Weighted:
        """Each op at each number of input channels."""
        size = x.shape[-1]
        return [
            (weight * before, stage.later_block(size, c, op) if layer > 1 else stage.first_block(size, c, 1, op))
            for weight, op in ops
            for before, c in inputs
        ]

    def _superkernel(self, key: str, weighted: Weighted, x: Tensor) -> Tensor:
        shared = self.supernet.shared(key)
        if key not in self._masks:
            self._masks[key] = _Masks([block for _, block in weighted], shared.weights.block)
        masks, weights = self._masks[key], torch.stack([weight for weight, _ in weighted]).to(x)
        channels = weights @ masks.middle.to(x)
        # All kernels are centred on the same pixels, so the largest one's padding is right for the others in it.
        block = replace(shared.weights.block, in_size=x.shape[-1], padding=weighted[0][1].padding)
        module = self._filled(key, block, {"depthwise.weight": _mixed_kernel(shared, masks, weights, channels)})
        y = _expanded(module, masks.share(masks.unexpanded, weights, channels), x)
        y = _run(module, y, ("depthwise", "depthwise_norm", "depthwise_act")) * channels.view(1, -1, 1, 1)
        squeeze = module._modules.get("squeeze")
        if isinstance(squeeze, SqueezeExcite):
            y = _squeezed(squeeze, masks.hidden(weights), masks.share(masks.squeezing, weights, channels), y)
        return _run(module, y, ("project", "project_norm"))

    def _plain(self, key: str, block: Block, x: Tensor) -> Tensor:
        """A block without choices inside."""
        y: Tensor = self._filled(key, block, {})(x)
        return y

    def _filled(self, key: str, block: Block, changed: dict[str, Tensor]) -> BlockModule:
        shape = block.sizeless
        if (key, shape) not in self._templates:
            self._templates[key, shape] = MetaBlock(shape, self.space.batchnorm_eps)
        tensors = self.supernet.slices(key, shape) | changed
        return self._templates[key, shape].filled(tensors, self.supernet.training)


class _Masks:
    """Which of the blocks of the same shared weights has which part of them, as matrices with one row a block."""

    def __init__(self, blocks: Sequence[Block], largest: Block) -> None:
        self.middle = torch.stack([torch.arange(largest.mid_channels) < b.mid_channels for b in blocks]).float()
        self._squeezed = torch.stack([torch.arange(largest.se_channels) < b.se_channels for b in blocks]).float()
        self.squeezing = self.middle * torch.tensor([b.se_channels > 0 for b in blocks])[:, None]
        plain = torch.tensor([not b.expands for b in blocks])
        self.unexpanded = self.middle * plain[:, None]
        kernels = torch.tensor([b.kernel for b in blocks])
        self.kernels = {k: self.middle * (kernels == k)[:, None] for k in sorted(set(kernels.tolist()))}
        self._equal = self.middle / self.middle.sum(0).clamp(min=1)

    def share(self, part: Tensor, weights: Tensor, channels: Tensor) -> Tensor:
        """What of each middle channel's weight is of `part`, shape (m,); of a channel without weight, what it
        would be if all blocks that have it weighed the same."""
        there = channels.abs() > _NOTHING
        ratio = (weights @ part.to(weights)) / torch.where(there, channels, torch.ones_like(channels))
        return torch.where(there, ratio, (self._equal * (part > 0)).sum(0).to(weights))

    def hidden(self, weights: Tensor) -> Tensor:
        """What weighs each hidden channel of squeeze-and-excitation, shape (h,), among the blocks that have any; where
        none of those has a weight, what it would be if all weighed the same."""
        has = (self._squeezed.sum(1) > 0).to(weights)
        total = weights @ has
        own = weights * has / total if float(total.detach()) > _NOTHING else has / has.sum()
        return own @ self._squeezed.to(weights)


def _mixed_kernel(shared: SharedWeights, masks: _Masks, weights: Tensor, channels: Tensor) -> Tensor:
    """The depthwise weights (m, 1, K, K) of all kernels at once."""
    full = shared.weights.get_parameter("depthwise.weight")
    largest = full.shape[-1]
    mixed = full.new_zeros(())
    for kernel, part in masks.kernels.items():
        weight = shared.kernel(full, kernel)
        if len(masks.kernels) > 1:
            weight = weight * masks.share(part, weights, channels).view(-1, 1, 1, 1)
        mixed = mixed + F.pad(weight, [(largest - kernel) // 2] * 4)
    return mixed


def _expanded(module: BlockModule, unexpanded: Tensor, x: Tensor) -> Tensor:
    """The input of the depthwise convolution: expanded where the ops of a channel expand, as it came where not."""
    plain = _channels(x, module.block.mid_channels)
    if "expand" not in module._modules:
        return plain
    y = _run(module, x, ("expand", "expand_norm", "expand_act"))
    if not bool((unexpanded != 0).any()):
        return y
    share = unexpanded.view(1, -1, 1, 1)
    return share * plain + (1 - share) * y


def _run(module: BlockModule, x: Tensor, names: Sequence[str]) -> Tensor:
    """The layers of `module` called `names`, as far as it has them."""
    for name in names:
        layer = module._modules.get(name)
        x = x if layer is None else layer(x)
    return x


def _squeezed(squeeze: SqueezeExcite, hidden: Tensor, share: Tensor, x: Tensor) -> Tensor:
    """`x` scaled by squeeze-and-excitation as far as the blocks that have a channel have it, `share` (m,) of them."""
    inner = squeeze.act(squeeze.reduce(squeeze.pool(x))) * hidden.view(1, -1, 1, 1)
    gate: Tensor = squeeze.gate(squeeze.expand(inner))
    return x * (1 - share.view(1, -1, 1, 1) * (1 - gate))


def _reach(weights: Tensor, widths: Sequence[int], x: Tensor) -> Tensor:
    """The weight of the widths that have each channel, shape (1, channels, 1, 1)."""
    has = torch.stack([torch.arange(widths[-1]) < width for width in widths]).to(x)
    return (weights.to(x) @ has).view(1, -1, 1, 1)


def _channels(x: Tensor, channels: int) -> Tensor:
    """The first `channels` channels of `x`, zeros where it has fewer."""
    if channels <= x.shape[1]:
        return x[:, :channels]
    return F.pad(x, (0, 0, 0, 0, 0, channels - x.shape[1]))
