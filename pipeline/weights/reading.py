"""Tensors under a published naming -> the network they are, every one of them placed or refused by name."""

import re
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from latency_tables.blocks import Block
from pipeline.supernets.files import WeightsError
from pipeline.supernets.modules import BlockModule
from pipeline.weights.namings import NAMINGS, ONNX, OWN, Naming, Part, Place
from pipeline.weights.published import Layer, Published

_Part = dict[str, tuple[str, Tensor]]  # our name of a tensor -> its published name, and the tensor
# A kernel transform and the path of the depthwise convolution that it belongs to: once-for-all's and our own.
_MATRICES: Final = (
    (re.compile(r"(.+)\.(\d+to\d+)_matrix"), "{}"),
    (re.compile(r"(banks\.\w+)\.transforms\.(\d+to\d+)"), "{}.weights.depthwise"),
)
_COUNTER: Final = "num_batches_tracked"


def read_network(state: Mapping[str, Tensor], source: str) -> Published:
    """The network whose tensors `state` holds by their published names; `source` names the file in errors.

    Raises WeightsError naming the first tensor that has no place, is missing, or has a shape that does not fit.
    """
    naming = _recognise(state, source)
    parts, transforms = _placed(naming, state, source)
    layers = sorted(part for part in parts if part[0] == "layer")
    for kind in ("stem", "conv", "linear"):
        if (kind, ()) not in parts:
            raise WeightsError(f"{source} has {naming.name}'s names, but no tensor of its {_WORDS[kind]}")
    if not layers:
        raise WeightsError(f"{source} has {naming.name}'s names, but no tensor of a layer")
    channels = 3
    read: dict[Part, dict[str, Tensor]] = {}
    for part in (("stem", ()), *layers, ("conv", ()), ("mix", ()), ("hidden", ()), ("linear", ())):
        if part in parts:
            read[part] = _checked(part, parts[part], channels, source)
            channels = _out_channels(part[0], read[part])
    return Published(
        naming=naming.name,
        stem=read["stem", ()],
        layers=tuple(Layer(read[part], _checked_transforms(transforms.get(part, {}), source)) for part in layers),
        head={kind: read[kind, ()] for kind in ("conv", "mix", "hidden", "linear") if (kind, ()) in read},
        elastic=bool(transforms) or naming.name == OWN,
        folded=naming.name == ONNX,
    )


_WORDS: Final = {"stem": "stem", "conv": "head", "linear": "classifier"}


def _recognise(state: Mapping[str, Tensor], source: str) -> Naming:
    for naming in NAMINGS:
        if naming.signature in state:
            return naming
    known = ", ".join(f"{naming.name} ({naming.signature})" for naming in NAMINGS)
    some = ", ".join(repr(name[:60]) for name in list(state)[:3])
    raise WeightsError(f"{source}: no known naming; its tensors begin with {some or 'none'}; known are {known}")


def _placed(
    naming: Naming, state: Mapping[str, Tensor], source: str
) -> tuple[dict[Part, _Part], dict[Part, dict[str, Tensor]]]:
    """The tensors of each part by our names, and the kernel transforms of each layer."""
    paths = frozenset(name.rpartition(".")[0] for name in state)
    places = naming.places(paths)
    parts: dict[Part, _Part] = {}
    transforms: dict[Part, dict[str, Tensor]] = {}
    homeless = []
    for name, tensor in state.items():
        path, _, leaf = name.rpartition(".")
        matrix = _matrix(name)
        place: Place | None = places.get(matrix[0] if matrix else path)
        if matrix and place is not None and place.module == "depthwise":
            transforms.setdefault(place.part, {})[matrix[1]] = tensor
        elif matrix or place is None:
            homeless.append(name)
        elif leaf != _COUNTER:
            twin = parts.setdefault(place.part, {}).setdefault(f"{place.module}.{leaf}", (name, tensor))
            if twin[0] != name:
                raise WeightsError(f"{source}: tensors {twin[0]!r} and {name!r} have the same place")
    if homeless:
        raise WeightsError(
            f"{source}: {len(homeless)} tensor(s) have no place in a network of {naming.name}'s naming,"
            f" the first is {homeless[0][:100]!r}"
        )
    return parts, transforms


def _matrix(name: str) -> tuple[str, str] | None:
    """Path of the convolution and sizes ("7to5") where `name` is that of a kernel transform."""
    for pattern, path in _MATRICES:
        if match := pattern.fullmatch(name):
            return path.format(match[1]), match[2]
    return None


def _checked(part: Part, found: _Part, channels: int, source: str) -> dict[str, Tensor]:
    """The tensors of one part, after comparing names and shapes with a block of ours that takes `channels`."""
    where = f"layer {'.'.join(map(str, part[1]))}" if part[0] == "layer" else f"the {_WORDS.get(part[0], part[0])}"
    expected = _expected(part[0], found, channels, where, source)
    for name in expected:
        if name not in found:
            raise WeightsError(f"{source}: {where} lacks a tensor: its {name}")
    for name, (published, tensor) in found.items():
        if name not in expected:
            raise WeightsError(f"{source}: tensor {published!r} is one too many in {where}")
        shape = tuple(tensor.shape)
        if part[0] == "hidden" and shape[2:] == (1, 1):
            shape = shape[:2]  # a 1x1 convolution of the pooled vector is a matrix product
        if shape != expected[name]:
            raise WeightsError(f"{source}: tensor {published!r} has shape {shape}; expected is {expected[name]}")
    return {name: tensor.reshape(expected[name]) for name, (_, tensor) in found.items()}


def _expected(kind: str, found: _Part, channels: int, where: str, source: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the block that the leading tensors of a part speak of."""

    def size(name: str, axis: int, dims: int) -> int:
        if name not in found:
            raise WeightsError(f"{source}: {where} lacks a tensor: its {name}")
        published, tensor = found[name]
        if tensor.dim() != dims or not 0 < tensor.shape[axis] <= _WIDEST:
            raise WeightsError(f"{source}: tensor {published!r} of {where} has shape {tuple(tensor.shape)}")
        return tensor.shape[axis]

    match kind:
        case "layer":
            mid = size("depthwise.weight", 0, 4) if "expand.weight" in found else channels
            squeezed = size("squeeze.reduce.weight", 0, 4) if "squeeze.reduce.weight" in found else 0
            kernel = _odd(size("depthwise.weight", 3, 4), where, source)
            block = Block("mbconv", 1, channels, size("project.weight", 0, 4), kernel, 1, mid, squeezed, "relu")
        case "stem" | "conv":
            kernel = _odd(size("conv.weight", 3, 4), where, source)
            block = Block("conv", 1, channels, size("conv.weight", 0, 4), kernel)
        case "mix":
            block = Block("mix", 1, channels, size("conv.weight", 0, 4))
        case _:
            dims = found["linear.weight"][1].dim() if kind == "hidden" and "linear.weight" in found else 2
            block = Block("linear", 1, channels, size("linear.weight", 0, dims))
    with torch.device("meta"):
        state = BlockModule(block).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(_COUNTER)}


_WIDEST: Final = 1 << 16  # channels or classes


def _odd(kernel: int, where: str, source: str) -> int:
    if kernel % 2 == 0 or kernel > 15:
        raise WeightsError(f"{source}: {where} has a kernel of {kernel}; accepted are odd ones up to 15")
    return kernel


def _out_channels(kind: str, tensors: Mapping[str, Tensor]) -> int:
    name = {"layer": "project.weight", "hidden": "linear.weight", "linear": "linear.weight"}.get(kind, "conv.weight")
    return len(tensors[name])


def _checked_transforms(matrices: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    for name, matrix in matrices.items():
        before, after = map(int, name.split("to"))
        if before != after + 2 or tuple(matrix.shape) != (after * after, after * after):
            raise WeightsError(f"{source}: kernel transform {name} has shape {tuple(matrix.shape)}")
    return dict(matrices)
