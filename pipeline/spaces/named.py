"""Architectures as people name them on a command line."""

import json
import random
import re
from pathlib import Path
from typing import Any

from pipeline.spaces.architecture import SKIP, Architecture, ArchitectureError, Op, StageChoice
from pipeline.spaces.space import SearchSpace, Stage

_ACCEPTED = "max, min, base, random:SEED, an architecture string, OFA-style JSON or a file of either"


def resolve_architecture(space: SearchSpace, text: str) -> Architecture:
    """The architecture of `space` that `text` names; ArchitectureError says what is accepted.

    `text` is `max`, `min`, `base`, `random:SEED` (uniform over distinct networks), the canonical string,
    OFA-style JSON `{"r":224,"d":[..],"ks":[..],"e":[..]}` inline or in a file, or NAS-Bench-Macro digits.
    """
    arch = _resolve(space, text.strip())
    space.check(arch)
    return arch


def _resolve(space: SearchSpace, text: str) -> Architecture:
    if text == "max":
        return space.max()
    if text == "min":
        return space.min()
    if text == "base":
        if space.base is None:
            raise ArchitectureError(f"space {space.name!r} is not built around a network, so it has no 'base'")
        return space.base
    if match := re.fullmatch(r"random:(\d+)", text):
        return space.sample(random.Random(int(match[1])))
    if text.startswith("{"):
        return from_ofa(space, _json(text))
    if re.fullmatch(r"[012]{8}", text):
        return from_macro_digits(space, text)
    if re.match(r"r\d+_w", text):
        return Architecture.parse(text)
    if Path(text).is_file():
        return _resolve(space, Path(text).read_text(errors="replace").strip())
    raise ArchitectureError(f"{text!r} names no architecture; accepted are {_ACCEPTED}")


def from_ofa(space: SearchSpace, document: dict[str, Any]) -> Architecture:
    """The architecture that an OFA-style document names: `r` (or a list of one), `d`, and `ks` and `e` per slot.

    Stages that leave nothing to choose (OFA's first block) are not in it. Genes of skipped layers are ignored.
    """
    elastic = [stage for stage in space.stages if _has_choices(stage)]
    slots = sum(len(stage.slots) for stage in elastic)
    depths, kernels, expands = (_integers(document, key) for key in ("d", "ks", "e"))
    for key, values, wanted in (("d", depths, len(elastic)), ("ks", kernels, slots), ("e", expands, slots)):
        if len(values) != wanted:
            raise ArchitectureError(f"{key!r} lists {len(values)} values; space {space.name!r} has {wanted}")
    resolution = document.get("r", space.resolutions[-1])
    resolution = resolution[0] if isinstance(resolution, list) and resolution else resolution
    if not isinstance(resolution, int):
        raise ArchitectureError(f"'r' is {resolution!r}; it should be an input size in pixels")
    depth, position, stages = iter(depths), 0, []
    for stage in space.stages:
        if not _has_choices(stage):
            stages.append(StageChoice(stage.widths[0], tuple(slot[0] for slot in stage.slots)))
            continue
        layers = range(position, position + min(next(depth), len(stage.slots)))
        ops = tuple(Op(kernels[layer], expands[layer]) for layer in layers)
        stages.append(StageChoice(stage.widths[-1], ops))
        position += len(stage.slots)
    return Architecture(resolution, tuple(stages))


def from_macro_digits(space: SearchSpace, digits: str) -> Architecture:
    """The architecture of NAS-Bench-Macro's digits, layer by layer: 0 identity, 1 k3e3, 2 k5e6."""
    layers = sum(len(stage.slots) for stage in space.stages)
    if len(digits) != layers:
        raise ArchitectureError(f"{digits!r} names {len(digits)} layers; space {space.name!r} has {layers}")
    ops, stages, position = (SKIP, Op(3, 3), Op(5, 6)), [], 0
    for stage in space.stages:
        chosen = [ops[int(digit)] for digit in digits[position : position + len(stage.slots)]]
        later = [op for op in chosen[1:] if op != SKIP]
        stages.append(StageChoice(stage.widths[0], (chosen[0], *later)))
        position += len(stage.slots)
    return Architecture(space.resolutions[0], tuple(stages))


def _has_choices(stage: Stage) -> bool:
    return len(stage.widths) * sum(stage.layer_counts().values()) > 1


def _json(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ArchitectureError(f"{text[:60]!r} is not JSON: {error}") from None
    if not isinstance(document, dict) or not {"d", "ks", "e"} <= set(document):
        raise ArchitectureError('OFA-style JSON needs "d", "ks" and "e": {"r":224,"d":[2],"ks":[3,3],"e":[3,3]}')
    return document


def _integers(document: dict[str, Any], key: str) -> list[int]:
    values = document[key]
    if not isinstance(values, list) or not all(isinstance(value, int) for value in values):
        raise ArchitectureError(f"{key!r} is {values!r}; it should be a list of whole numbers")
    return values
