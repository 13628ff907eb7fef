"""How the published implementations call their tensors: which module of theirs is which layer of ours.

A naming maps paths of modules ("_blocks.3._bn1") to places; `reading` then takes the tensors below each path.
Facts are those of the implementations: once-for-all f03b267, timm 1.0, torchvision 0.28, EfficientNet-PyTorch 0.7.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

OWN: Final = "pocketnas"
ONNX: Final = "ONNX, in the order of its graph"
Part = tuple[str, tuple[int, ...]]  # "stem", "layer", "conv", "mix", "hidden" or "linear", and a layer's position
STEM: Final[Part] = ("stem", ())
CONV: Final[Part] = ("conv", ())
MIX: Final[Part] = ("mix", ())
HIDDEN: Final[Part] = ("hidden", ())
LINEAR: Final[Part] = ("linear", ())


@dataclass(frozen=True, slots=True)
class Place:
    """A part of the network, and the name there of the module that holds weight and bias."""

    part: Part
    module: str


Places = dict[str, Place]


@dataclass(frozen=True, slots=True)
class Naming:
    """`signature` is a tensor that every network of this naming has and no other naming knows."""

    name: str
    signature: str
    places: Callable[[frozenset[str]], Places]


_HEADS: Final = ("stem", "conv", "mix", "hidden", "linear")
_ROLES: Final = ("expand", "depthwise", "project")  # a layer that does not expand has the last two


def _efficientnet_pytorch(paths: frozenset[str]) -> Places:
    fixed = {
        "_conv_stem": Place(STEM, "conv"),
        "_bn0": Place(STEM, "norm"),
        "_conv_head": Place(CONV, "conv"),
        "_bn1": Place(CONV, "norm"),
        "_fc": Place(LINEAR, "linear"),
    }
    roles = {
        "_expand_conv": "expand",
        "_bn0": "expand_norm",
        "_depthwise_conv": "depthwise",
        "_bn1": "depthwise_norm",
        "_se_reduce": "squeeze.reduce",
        "_se_expand": "squeeze.expand",
        "_project_conv": "project",
        "_bn2": "project_norm",
    }
    return fixed | _layers(paths, r"_blocks\.(\d+)\.(\w+)", lambda members: roles)


def _timm(paths: frozenset[str]) -> Places:
    fixed = {"conv_stem": Place(STEM, "conv"), "bn1": Place(STEM, "norm"), "classifier": Place(LINEAR, "linear")}
    last = [match[1] for path in paths if (match := re.fullmatch(r"(blocks\.\d+\.0)\.conv", path))]
    if last:  # MobileNetV3: the head's convolution ends the blocks, and conv_head is a layer of the pooled vector
        fixed |= {f"{last[0]}.conv": Place(CONV, "conv"), f"{last[0]}.bn1": Place(CONV, "norm")}
        fixed["conv_head"] = Place(HIDDEN, "linear")
    else:
        fixed |= {"conv_head": Place(CONV, "conv"), "bn2": Place(CONV, "norm")}
    squeeze = {"se.conv_reduce": "squeeze.reduce", "se.conv_expand": "squeeze.expand"}

    def roles(members: frozenset[str]) -> dict[str, str]:
        if "conv_pwl" in members:
            convs = {"conv_pw": "expand", "conv_dw": "depthwise", "conv_pwl": "project"}
            return convs | {f"bn{n}": f"{role}_norm" for n, role in enumerate(_ROLES, 1)} | squeeze
        convs = {"conv_dw": "depthwise", "conv_pw": "project"}
        return convs | {f"bn{n}": f"{role}_norm" for n, role in enumerate(_ROLES[1:], 1)} | squeeze

    return fixed | {p: q for p, q in _layers(paths, r"blocks\.(\d+\.\d+)\.(.+)", roles).items() if p not in fixed}


def _torchvision(paths: frozenset[str]) -> Places:
    ends = [int(match[1]) for path in paths if (match := re.fullmatch(r"features\.(\d+)\.0", path))]
    fixed = {"features.0.0": Place(STEM, "conv"), "features.0.1": Place(STEM, "norm")}
    head = f"features.{max(ends)}"
    fixed |= {f"{head}.0": Place(CONV, "conv"), f"{head}.1": Place(CONV, "norm")}
    if "classifier.3" in paths:  # MobileNetV3
        fixed |= {"classifier.0": Place(HIDDEN, "linear"), "classifier.3": Place(LINEAR, "linear")}
    else:
        fixed["classifier.1"] = Place(LINEAR, "linear")

    def v2(members: frozenset[str]) -> dict[str, str]:
        expands = "1.0" in members
        roles = {"0.0": "expand", "0.1": "expand_norm", "1.0": "depthwise", "1.1": "depthwise_norm"}
        if not expands:
            roles = {"0.0": "depthwise", "0.1": "depthwise_norm"}
        last = 2 if expands else 1
        return roles | {str(last): "project", str(last + 1): "project_norm"}

    def v3(members: frozenset[str]) -> dict[str, str]:
        convs = sorted((m.removesuffix(".0") for m in members if m.endswith(".0")), key=_number)
        named = list(zip(convs, _ROLES[-len(convs) :], strict=False))
        roles = {f"{n}.0": role for n, role in named} | {f"{n}.1": f"{role}_norm" for n, role in named}
        fcs = {m: m for m in members if m.endswith((".fc1", ".fc2"))}
        return roles | {m: "squeeze.reduce" if m.endswith("1") else "squeeze.expand" for m in fcs}

    return (
        fixed
        | _layers(paths, r"features\.(\d+)\.conv\.(.+)", v2)
        | _layers(paths, r"features\.(\d+(?:\.\d+)?)\.block\.(.+)", v3)
    )


def _once_for_all(paths: frozenset[str]) -> Places:
    fixed = {
        "first_conv.conv": Place(STEM, "conv"),
        "first_conv.bn": Place(STEM, "norm"),
        "feature_mix_layer.conv": Place(MIX, "conv"),
        "classifier.linear": Place(LINEAR, "linear"),
        "classifier.linear.linear": Place(LINEAR, "linear"),
    }
    if any(path.startswith("final_expand_layer.") for path in paths):
        fixed |= {"final_expand_layer.conv": Place(CONV, "conv"), "final_expand_layer.bn": Place(CONV, "norm")}
    else:  # ProxylessNAS: the mix is the head's convolution
        fixed |= {"feature_mix_layer.conv": Place(CONV, "conv"), "feature_mix_layer.bn": Place(CONV, "norm")}
    roles = {
        "inverted_bottleneck.conv": "expand",
        "inverted_bottleneck.bn": "expand_norm",
        "depth_conv.conv": "depthwise",
        "depth_conv.bn": "depthwise_norm",
        "depth_conv.se.fc.reduce": "squeeze.reduce",
        "depth_conv.se.fc.expand": "squeeze.expand",
        "point_linear.conv": "project",
        "point_linear.bn": "project_norm",
    }
    # An elastic layer wraps its convolution and its BatchNorm once more; the matrices stay at the outer one.
    elastic = {f"{path}.{path.rpartition('.')[2]}": role for path, role in roles.items() if "squeeze" not in role}
    return fixed | _layers(paths, r"blocks\.(\d+)\.(?:mobile_inverted_conv|conv)\.(.+)", lambda m: roles | elastic)


def _own_supernet(paths: frozenset[str]) -> Places:
    fixed = {f"banks.stem.weights.{module}": Place(STEM, module) for module in ("conv", "norm")}
    fixed |= {f"banks.head_conv.weights.{module}": Place(CONV, module) for module in ("conv", "norm")}
    fixed["banks.head_mix.weights.conv"] = Place(MIX, "conv")
    for part in (HIDDEN, LINEAR):
        fixed[f"banks.head_{part[0]}.weights.linear"] = Place(part, "linear")
    layers = {}
    for path in paths:
        if match := re.fullmatch(r"banks\.stage(\d+)_layer(\d+)\.weights\.(.+)", path):
            layers[path] = Place(("layer", (_number(match[1]), _number(match[2]))), match[3])
    return fixed | layers


def _onnx(paths: frozenset[str]) -> Places:
    """The names that `onnx_layers` gives."""
    heads = {path: Place((path.split(".")[0], ()), path.split(".", 1)[1]) for path in paths if "." in path}
    members = r"(?:expand|depthwise|project|expand_norm|depthwise_norm|project_norm|squeeze\..+)"
    inside = {}
    for path in paths:
        if match := re.fullmatch(rf"layers\.(\d+)\.({members})", path):
            inside[path] = Place(("layer", (_number(match[1]),)), match[2])
    return {path: place for path, place in heads.items() if place.part[0] in _HEADS} | inside


def _layers(paths: frozenset[str], pattern: str, roles: Callable[[frozenset[str]], Mapping[str, str]]) -> Places:
    """Places of the modules inside the layers: `pattern` has a layer's position and the member's path as groups."""
    members: dict[str, dict[str, str]] = {}
    for path in paths:
        if match := re.fullmatch(pattern, path):
            members.setdefault(match[1], {})[match[2]] = path
    places: dict[str, Place] = {}
    for position, inside in members.items():
        known = roles(frozenset(inside))
        part = ("layer", tuple(map(_number, position.split("."))))
        places |= {path: Place(part, known[member]) for member, path in inside.items() if member in known}
    return places


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1


NAMINGS: Final = (
    Naming(ONNX, "stem.conv.weight", _onnx),
    Naming(OWN, "banks.stem.weights.conv.weight", _own_supernet),
    Naming("once-for-all", "first_conv.conv.weight", _once_for_all),
    Naming("timm", "conv_stem.weight", _timm),
    Naming("torchvision", "features.0.0.weight", _torchvision),
    Naming("EfficientNet-PyTorch", "_conv_stem.weight", _efficientnet_pytorch),
)
