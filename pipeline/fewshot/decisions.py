"""The decisions of a space and their options: what a few-shot split may tell apart.

An option is named by its meaning ("k5", "s0.25", "w64", "d3", "k3e6", "skip", "r32"), never by an index, so that it
means the same in every region. A layer that shallower networks lack has the option "absent" beside its ops.
"""

import math
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from pipeline.errors import PipelineError
from pipeline.spaces.architecture import SKIP, Architecture, Op, StageChoice
from pipeline.spaces.space import SearchSpace
from pipeline.spaces.stage import Stage

Kind = Literal["resolution", "width", "depth", "op", "kernel", "expand", "squeeze"]
ABSENT: Final = "absent"
ASPECTS: Final[tuple[Kind, ...]] = ("kernel", "expand", "squeeze")  # of an op
_KINDS: Final[dict[str, Kind]] = {kind: kind for kind in get_args(Kind)}
_FORM: Final = "resolution, stage<i>.width, stage<i>.depth, stage<i>.layer<j>.op, .kernel, .expand or .squeeze"
_NAME: Final = re.compile(r"stage([1-9]\d*)\.(?:(width|depth)|layer([1-9]\d*)\.(op|kernel|expand|squeeze))")


class SplitError(PipelineError):
    """A decision, option or grouping that a space does not offer."""


@dataclass(frozen=True, slots=True, order=True)
class Decision:
    """One choice of a space; `stage` and `layer` count from 1 and are 0 where they do not apply."""

    kind: Kind
    stage: int = 0
    layer: int = 0

    def __str__(self) -> str:
        if self.kind == "resolution":
            return "resolution"
        return f"stage{self.stage}.layer{self.layer}.{self.kind}" if self.layer else f"stage{self.stage}.{self.kind}"

    @classmethod
    def parse(cls, text: str) -> "Decision":
        """The decision that `text` spells, such as `stage2.layer1.kernel`; SplitError otherwise."""
        if text == "resolution":
            return cls("resolution")
        match = _NAME.fullmatch(text)
        if match is None:
            raise SplitError(f"{text!r} is no decision; accepted are {_FORM}")
        stage, of_stage, layer, of_layer = match.groups()
        return cls(_KINDS[of_stage or of_layer], int(stage), int(layer or 0))

    def options(self, space: SearchSpace) -> tuple[str, ...]:
        """What may be decided in `space`, small to large; SplitError where it has no such stage or layer."""
        if self.kind == "resolution":
            return tuple(f"r{resolution}" for resolution in space.resolutions)
        stage = self._stage(space)
        if self.kind == "width":
            return tuple(f"w{width}" for width in stage.widths)
        if self.kind == "depth":
            return tuple(f"d{depth}" for depth in stage.depths)
        named = tuple(dict.fromkeys(self._of_op(op) for op in sorted(stage.slots[self.layer - 1], key=self._sort_key)))
        return (ABSENT, *named) if stage.depths[0] < self.layer else named

    def option_of(self, arch: Architecture) -> str:
        """What `arch` has decided."""
        if self.kind == "resolution":
            return f"r{arch.resolution}"
        choice = arch.stages[self.stage - 1]
        if self.kind == "width":
            return f"w{choice.width}"
        if self.kind == "depth":
            return f"d{len(choice.ops)}"
        return self._of_op(choice.ops[self.layer - 1]) if self.layer <= len(choice.ops) else ABSENT

    def restrict(self, space: SearchSpace, options: Iterable[str]) -> SearchSpace:
        """The part of `space` that decides for one of `options`: exactly those networks, a product space again.

        Raises SplitError for an option that `space` does not have, and for none at all.
        """
        kept, known = set(options), self.options(space)
        if not kept or not kept <= set(known):
            raise SplitError(
                f"{', '.join(sorted(kept - set(known))) or 'no option'} of {self} cannot be kept in space"
                f" {space.name!r}; its options are {', '.join(known)}"
            )
        if self.kind == "resolution":
            narrowed = space.with_resolutions([r for r in space.resolutions if f"r{r}" in kept])
        else:
            narrowed = space.with_stage(self.stage - 1, self._narrowed(self._stage(space), kept))
        label = f"{self}={'|'.join(option for option in known if option in kept)}"
        return replace(narrowed, name=f"{space.name}/{label}" if kept != set(known) else space.name)

    def variants(
        self, space: SearchSpace, rng: random.Random, of: Architecture | None = None
    ) -> dict[str, Architecture]:
        """One network for each option, equal in every other gene that both can have: `of` changed, or one drawn."""
        genes = _Genes.draw(space, rng)
        if of is not None:
            genes = genes.of(of)
        return {option: self._variant(space, genes, option) for option in self.options(space)}

    def _narrowed(self, stage: Stage, kept: set[str]) -> Stage:
        if self.kind == "width":
            return replace(stage, widths=tuple(w for w in stage.widths if f"w{w}" in kept))
        if self.kind == "depth":
            depths = tuple(d for d in stage.depths if f"d{d}" in kept)
            return replace(stage, depths=depths, slots=stage.slots[: depths[-1]])
        place = self.layer - 1
        if kept == {ABSENT}:
            depths = tuple(d for d in stage.depths if d <= place)
            return replace(stage, depths=depths, slots=stage.slots[: depths[-1]])
        depths = stage.depths if ABSENT in kept else tuple(d for d in stage.depths if d > place)
        ops = tuple(op for op in stage.slots[place] if self._of_op(op) in kept)
        return replace(stage, depths=depths, slots=(*stage.slots[:place], ops, *stage.slots[place + 1 :]))

    def _variant(self, space: SearchSpace, genes: "_Genes", option: str) -> Architecture:
        region = self.restrict(space, [option])
        stages = []
        for stage, width, depth, ops in zip(region.stages, genes.widths, genes.depths, genes.ops, strict=True):
            count = min(stage.depths, key=lambda allowed: abs(allowed - depth))
            stages.append(
                StageChoice(
                    width if width in stage.widths else stage.widths[0],
                    tuple(_closest(op, slot) for op, slot in zip(ops[:count], stage.slots, strict=False)),
                )
            )
        resolution = genes.resolution if genes.resolution in region.resolutions else region.resolutions[0]
        return Architecture(resolution, tuple(stages))

    def _stage(self, space: SearchSpace) -> Stage:
        if self.stage > len(space.stages):
            raise SplitError(f"{self} is no decision of space {space.name!r}, which has {len(space.stages)} stages")
        stage = space.stages[self.stage - 1]
        if self.layer > len(stage.slots):
            layers = len(stage.slots)
            raise SplitError(f"{self} is no decision of space {space.name!r}: stage {self.stage} has {layers} layers")
        return stage

    def _of_op(self, op: Op) -> str:
        if self.kind == "op" or op == SKIP:
            return str(op)
        return f"{self.kind[0]}{_aspect(op, self.kind)}"

    def _sort_key(self, op: Op) -> tuple[bool, float, Op]:
        first = op.kernel if self.kind == "op" else _aspect(op, self.kind)
        return (op != SKIP, first, op)


@dataclass(frozen=True, slots=True)
class _Genes:
    """A value for every gene of a space, those of layers that may turn out absent included."""

    resolution: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    ops: tuple[tuple[Op, ...], ...]

    @classmethod
    def draw(cls, space: SearchSpace, rng: random.Random) -> "_Genes":
        return cls(
            rng.choice(space.resolutions),
            tuple(rng.choice(stage.widths) for stage in space.stages),
            tuple(rng.choice(stage.depths) for stage in space.stages),
            tuple(tuple(rng.choice(slot) for slot in stage.slots) for stage in space.stages),
        )

    def of(self, arch: Architecture) -> "_Genes":
        """The genes of `arch`; what it has no layers for stays as drawn."""
        return _Genes(
            arch.resolution,
            tuple(choice.width for choice in arch.stages),
            tuple(len(choice.ops) for choice in arch.stages),
            tuple((*choice.ops, *ops[len(choice.ops) :]) for choice, ops in zip(arch.stages, self.ops, strict=True)),
        )


def decisions_of(space: SearchSpace) -> tuple[Decision, ...]:
    """Every decision with at least two options, in the order of the network.

    A layer whose ops are a full product of kernels, expand ratios and squeezes has those as decisions beside the op
    itself; otherwise (NAS-Bench-Macro) only the op.
    """
    found = [Decision("resolution")]
    for number, stage in enumerate(space.stages, 1):
        found += [Decision("width", number), Decision("depth", number)]
        for layer, ops in enumerate(stage.slots, 1):
            found.append(Decision("op", number, layer))
            options = {aspect: len({_aspect(op, aspect) for op in ops}) for aspect in ASPECTS}
            if len(ops) == math.prod(options.values()):
                found += [Decision(aspect, number, layer) for aspect in ASPECTS if options[aspect] > 1]
    return tuple(decision for decision in found if len(decision.options(space)) > 1)


def open_decisions(space: SearchSpace, names: Iterable[str]) -> list[Decision]:
    """The decisions that `names` spell; SplitError for what is none, or what `space` does not leave open."""
    decisions = [Decision.parse(name) for name in names]
    for decision in decisions:
        if len(decision.options(space)) < 2:
            raise SplitError(f"{decision} has only one option in space {space.name!r}; nothing to split")
    return decisions


def _closest(op: Op, allowed: tuple[Op, ...]) -> Op:
    """`op`, or the allowed one that keeps most of it: where the kernel is decided, the expand ratio stays."""
    return min(allowed, key=lambda other: sum(_aspect(other, aspect) != _aspect(op, aspect) for aspect in ASPECTS))


def _aspect(op: Op, kind: Kind) -> float:
    """The kernel, the expand ratio or the squeeze of `op`."""
    return {"kernel": op.kernel, "expand": op.expand, "squeeze": op.squeeze}[kind]
