"""Architectures as people name them on a command line."""

import random
import re
from pathlib import Path
from typing import Any, Final

from latency_tables.documents import parse_json
from latency_tables.files import read_bounded
from latency_tables.texts import decode_text
from pipeline.spaces.architecture import SKIP, Architecture, ArchitectureError, Op, StageChoice
from pipeline.spaces.space import SearchSpace
from pipeline.spaces.stage import Stage

_MOST_BYTES: Final = 1 << 20
_LONGEST_NAME: Final = 1000
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
    if len(text) > _LONGEST_NAME and not text.startswith("{"):
        raise ArchitectureError(f"{text[:40]!r}… names no architecture: it has {len(text):,} characters")
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
        return from_ofa(space, parse_json(text, "OFA-style JSON", ArchitectureError))
    if re.fullmatch(r"[012]{8}", text):
        return from_macro_digits(space, text)
    if re.match(r"r\d+_w", text):
        return Architecture.parse(text)
    if _is_file(text):
        return _resolve(space, _from_file(Path(text)))
    raise ArchitectureError(f"{text!r} names no architecture; accepted are {_ACCEPTED}")


def from_ofa(space: SearchSpace, document: dict[str, Any]) -> Architecture:
    """The architecture that an OFA-style document names: `r` (or a list of one), `d`, and `ks` and `e` per slot.

    `image_size` is another name of `r`; without either it is the space's largest. Stages that leave nothing to choose
    (OFA's first block) are not in it. Genes of skipped layers are ignored; anything else that the document says and
    the space has not raises ArchitectureError.
    """
    _refuse_unknown(document)
    elastic = [stage for stage in space.stages if _has_choices(stage)]
    slots = sum(len(stage.slots) for stage in elastic)
    depths, kernels, expands = (_integers(document, key) for key in ("d", "ks", "e"))
    for key, values, wanted in (("d", depths, len(elastic)), ("ks", kernels, slots), ("e", expands, slots)):
        if len(values) != wanted:
            raise ArchitectureError(f"{key!r} lists {len(values)} values; space {space.name!r} has {wanted}")
    for number, (stage, depth) in enumerate(zip(elastic, depths, strict=True), 1):
        if depth not in stage.depths:
            accepted = ", ".join(map(str, stage.depths))
            raise ArchitectureError(f"'d' has {depth} for elastic stage {number}; space {space.name!r} has {accepted}")
    chosen, position, stages = iter(depths), 0, []
    for stage in space.stages:
        if not _has_choices(stage):
            stages.append(StageChoice(stage.widths[0], tuple(slot[0] for slot in stage.slots)))
            continue
        layers = range(position, position + next(chosen))
        ops = tuple(Op(kernels[layer], expands[layer]) for layer in layers)
        stages.append(StageChoice(stage.widths[-1], ops))
        position += len(stage.slots)
    return Architecture(_resolution(document, space.resolutions[-1]), tuple(stages))


def _refuse_unknown(document: dict[str, Any]) -> None:
    example = '{"r":224,"d":[2],"ks":[3,3],"e":[3,3]}'
    if lacking := [key for key in ("d", "ks", "e") if key not in document]:
        raise ArchitectureError(f"OFA-style JSON lacks {', '.join(map(repr, lacking))}; an example is {example}")
    for key, value in document.items():
        # OFA's own code writes the width multiplier as "wid": null, which says nothing.
        if key not in ("r", "image_size", "d", "ks", "e") and not (key == "wid" and value is None):
            raise ArchitectureError(f"OFA-style JSON has the unknown key {key!r}; known are r (image_size), d, ks, e")


def _resolution(document: dict[str, Any], largest: int) -> int:
    """The input size in pixels."""
    found = []
    for key in ("r", "image_size"):
        if key in document:
            value = document[key]
            value = value[0] if isinstance(value, list) and len(value) == 1 else value
            if isinstance(value, bool) or not isinstance(value, int):
                raise ArchitectureError(f"{key!r} is {document[key]!r}; it should be one input size in pixels")
            found.append(value)
    if len(set(found)) > 1:
        raise ArchitectureError(f"'r' is {found[0]} and 'image_size' {found[1]}; they are the same input size")
    return found[0] if found else largest


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


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long, or with a zero byte
        return False


def _from_file(path: Path) -> str:
    text = decode_text(read_bounded(path, ArchitectureError, _MOST_BYTES), str(path), ArchitectureError).strip()
    if _is_file(text):
        raise ArchitectureError(f"{path} names another file, {text!r}; accepted are {_ACCEPTED}")
    return text


def _integers(document: dict[str, Any], key: str) -> list[int]:
    values = document[key]
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise ArchitectureError(f"{key!r} is {str(values)[:80]}; it should be a list of whole numbers")
    return values
