"""A published network's weights into a supernet: what fits where, and what is new.

The published network stays what it was: where the space contains it, it computes the same from the supernet as
before. So does every larger network: new channels are read with weights of zero, a larger kernel is the old one
among zeros, and a new layer adds nothing. Smaller networks are its most important channels, the centres of its
kernels and the leading layers of its stages.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.spaces.architecture import Architecture, StageChoice
from pipeline.spaces.space import SearchSpace
from pipeline.spaces.stage import Stage
from pipeline.supernets.files import WeightsError
from pipeline.supernets.shared_weights import AXES, SharedWeights
from pipeline.supernets.supernet import Supernet
from pipeline.weights.importance import sort_channels
from pipeline.weights.published import Layer, Published


@dataclass(frozen=True, slots=True)
class Placement:
    """Tensors of the supernet: `placed` have published values as far as those reach, `new` have none of them.

    `base` is the published network as a point of the space at its largest resolution, None where it lies outside.
    """

    placed: tuple[str, ...]
    new: tuple[str, ...]
    base: Architecture | None


def published_architecture(network: Published, space: SearchSpace) -> Architecture | None:
    """The point of `space` that has the blocks of `network`, at the space's largest resolution; None without one."""
    if _objection(network, space) is not None:
        return None
    resolution = space.resolutions[-1]
    channels, choices = space.stem.channels, []
    for layers, stage in zip(network.stages(), space.stages, strict=True):
        choice = _choice(layers, stage, channels)
        if choice is None:
            return None
        choices.append(choice)
        channels = choice.width
    arch = Architecture(resolution, tuple(choices))
    return arch if space.contains(arch) else None


def _choice(layers: tuple[Layer, ...], stage: Stage, channels: int) -> StageChoice | None:
    width, ops = layers[0].out_channels, []
    for layer, slot in zip(layers, stage.slots, strict=False):
        block = stage.first_block if layer is layers[0] else None
        for op in slot:
            made = block(1, channels, width, op) if block else stage.later_block(1, width, op)
            if (made.kernel, made.mid_channels, made.se_channels) == (
                layer.kernel,
                layer.mid_channels,
                layer.se_channels,
            ):
                ops.append(op)
                break
        else:
            return None
    return StageChoice(width, tuple(ops)) if len(ops) == len(layers) else None


@torch.no_grad()
def place(network: Published, supernet: Supernet, source: str) -> Placement:
    """Fill `supernet`; its classifier only where it has as many classes as the published one.

    Raises WeightsError where the two are built differently: stem, number of stages, squeeze-and-excitation, head.
    """
    space = supernet.space
    objection = _objection(network, space)
    if objection is not None:
        raise WeightsError(f"{source} does not fit space {space.name!r}: {objection}")
    base = published_architecture(network, space)
    ordered = network if network.elastic else sort_channels(network)
    if network.folded:
        ordered = ordered.with_variances(1 - space.batchnorm_eps)
    filled: set[str] = set()
    _fill(supernet, "stem", Layer(ordered.stem), filled)
    for number, (layers, stage) in enumerate(zip(ordered.stages(), space.stages, strict=True), 1):
        for position in range(1, len(stage.slots) + 1):
            key = f"stage{number}_layer{position}"
            if position <= len(layers):
                _fill(supernet, key, layers[position - 1], filled)
            else:
                _shared(supernet, key).weights.state_dict()["project_norm.weight"].zero_()
    for kind, tensors in ordered.head.items():
        if kind != "linear" or ordered.classes == space.classes:
            _fill(supernet, f"head_{kind}", Layer(tensors), filled)
    own = [name for name in supernet.state_dict() if not name.endswith("num_batches_tracked")]
    return Placement(
        placed=tuple(name for name in own if name in filled),
        new=tuple(name for name in own if name not in filled and ".transforms." not in name),
        base=base,
    )


def _shared(supernet: Supernet, key: str) -> SharedWeights:
    if key not in supernet.banks or not isinstance(shared := supernet.banks[key], SharedWeights):
        raise WeightsError(
            f"space {supernet.space.name!r} shares no weights at {key}; a start needs nested weights and no 'skip'"
        )
    return shared


def _fill(supernet: Supernet, key: str, layer: Layer, filled: set[str]) -> None:
    shared = _shared(supernet, key)
    own = shared.weights.state_dict()
    for name, tensor in layer.tensors.items():
        if name in own:
            copy_overlap(own[name], tensor, len(AXES[name.rpartition(".")[0]]))
            filled.add(f"banks.{key}.weights.{name}")
    for name, matrix in layer.transforms.items():
        if name in shared.transforms:
            shared.transforms[name].copy_(matrix)
            filled.add(f"banks.{key}.transforms.{name}")


def copy_overlap(target: Tensor, source: Tensor, channel_axes: int) -> None:
    """Copy what `target` and `source`, of (out, in, k, k) or the first of these axes, both have: leading channels along
    `channel_axes` axes, and of kernels the centre.

    Old channels read new ones, and what lies around an old kernel, with zeros.
    """
    shared = tuple(slice(0, min(a, b)) for a, b in zip(target.shape, source.shape, strict=True))[:channel_axes]
    shared = shared[: target.dim()]
    if target.dim() > 1:
        target[shared[0]] = 0
    inner, outer = target[shared], source[shared]
    for axis in range(len(shared), target.dim()):
        size = min(inner.shape[axis], outer.shape[axis])
        inner = inner.narrow(axis, (inner.shape[axis] - size) // 2, size)
        outer = outer.narrow(axis, (outer.shape[axis] - size) // 2, size)
    inner.copy_(outer)


def _objection(network: Published, space: SearchSpace) -> str | None:
    """How the two are built differently, beyond what choices are for; None where they are not."""
    stem, head, stages = space.stem, space.head, network.stages()
    kernel = network.stem["conv.weight"].shape[-1]
    hidden = getattr(head, "hidden", 0)
    facts: list[tuple[str, object, object]] = [
        ("stem channels", len(network.stem["conv.weight"]), stem.channels),
        ("stem kernel", kernel, stem.kernel),
        ("stages", len(stages), len(space.stages)),
        ("head channels", len(network.head["conv"]["conv.weight"]), head.channels),
        ("mix channels of the head", _width(network.head, "mix", "conv.weight"), head.mix),
        ("hidden channels of the head", _width(network.head, "hidden", "linear.weight"), hidden),
    ]
    for what, theirs, ours in facts:
        if theirs != ours:
            return f"the weights have {theirs} {what}, the space has {ours}"
    for number, (layers, stage) in enumerate(zip(stages, space.stages, strict=True), 1):
        squeezes = any(layer.se_channels for layer in layers)
        if squeezes != (stage.squeeze != "none"):
            one, other = ("have", "has none") if squeezes else ("have no", "has it")
            return f"in stage {number} the weights {one} squeeze-and-excitation, the space {other}"
        if any(layer.expands for layer in layers) and all(op.expand == 1 for slot in stage.slots for op in slot):
            return f"in stage {number} the weights expand, the space does not"
    return None


def _width(head: Mapping[str, Mapping[str, Tensor]], kind: str, name: str) -> int:
    return len(head[kind][name]) if kind in head else 0
