"""A space made wider, deeper and larger: EfficientNet's compound scaling (Tan and Le 2019, section 3.3)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from latency_tables.blocks import round_channels
from pipeline.spaces.architecture import Architecture, StageChoice
from pipeline.spaces.space import SearchSpace
from pipeline.spaces.stage import SpaceError, Stage


@dataclass(frozen=True, slots=True)
class Scaling:
    """Every width is multiplied by `width`, the base's depths by `depth`; its input becomes `resolution` pixels.

    `fix_ends`: stem, head, and the depths of the first and the last stage stay, as in EfficientNet-Lite.
    """

    resolution: int
    width: float = 1.0
    depth: float = 1.0
    fix_ends: bool = False


def scaled(space: SearchSpace, name: str, scaling: Scaling, resolutions: Sequence[int]) -> SearchSpace:
    """`space` scaled, for inputs of `resolutions` pixels, one of which is its new base's.

    Widths are rounded as EfficientNet rounds them. A stage whose base has more layers than before offers the old
    depths and all up to as many more; new layers have the ops of the last. SpaceError for a space without a base.
    """
    if space.base is None:
        raise SpaceError(f"space {space.name!r} cannot be scaled: it is not built around a network")
    ends = {0, len(space.stages) - 1} if scaling.fix_ends else set()
    pairs = [
        _stage(stage, choice, scaling.width, 1.0 if number in ends else scaling.depth)
        for number, (stage, choice) in enumerate(zip(space.stages, space.base.stages, strict=True))
    ]
    outer = 1.0 if scaling.fix_ends else scaling.width
    result = replace(
        space,
        name=name,
        resolutions=tuple(sorted(set(resolutions))),
        stem=replace(space.stem, channels=_width(space.stem.channels, outer)),
        stages=tuple(stage for stage, _ in pairs),
        head=replace(space.head, channels=_width(space.head.channels, outer)),
        base=None,
    )
    base = Architecture(scaling.resolution, tuple(choice for _, choice in pairs))
    result.check(base)
    return result.with_base(base)


def _stage(stage: Stage, base: StageChoice, width: float, depth: float) -> tuple[Stage, StageChoice]:
    more = math.ceil(depth * len(base.ops)) - len(base.ops)
    depths = (
        stage.depths if not more else tuple(range(max(1, stage.depths[0] + min(more, 0)), stage.depths[-1] + more + 1))
    )
    slots = (*stage.slots, *([stage.slots[-1]] * more))[: depths[-1]]
    widths = tuple(sorted({_width(channels, width) for channels in stage.widths}))
    ops = (*base.ops, *([base.ops[-1]] * more))[: len(base.ops) + more]
    return replace(stage, widths=widths, depths=depths, slots=slots), StageChoice(_width(base.width, width), ops)


def _width(channels: int, factor: float) -> int:
    return channels if factor == 1.0 else round_channels(channels * factor)
