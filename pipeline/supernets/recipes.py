"""What a supernet trains on in each step: which networks, and what each of them learns from.

A recipe is a sequence of phases; a phase plans each step as a list of passes, whose gradients are added before
the one update of the step. A plan depends on the space and on a random generator that the training loop seeds
from (seed, step) alone.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar

from pipeline.spaces.architecture import Architecture, Op, StageChoice
from pipeline.spaces.space import SearchSpace
from pipeline.spaces.stage import Stage

Teacher = Literal["none", "largest", "frozen"]
T = TypeVar("T")

DROPPED: Final = 0.2  # the last rate at which all ops of a layer are dropped


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward and backward pass: loss = labels * CE(labels) + teacher * CE(teacher's soft answers).

    `arch` is None for a network that has no choices. Where there are `paths`, the layers of `arch`, in order, compute
    all of these ops side by side instead of their one; a layer without any passes on what it gets. `dropout` is the
    share of the classifier's inputs that are set to 0 at random.
    """

    arch: Architecture | None
    labels: float = 1.0
    teacher: float = 0.0
    paths: tuple[tuple[Op, ...], ...] = ()
    dropout: float = 0.0


StepPlan = Callable[[random.Random, float], list[Pass]]  # the share of the phase that is done goes from 0 to 1


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the training: `share` of its steps, with a cosine of its own that starts at lr * `lr_scale`.

    With a `tail` the rate decays exponentially to that share of its start instead, and stays there for the last third.
    `zero_gamma`: whether random weights should begin with residual blocks that add nothing (`Supernet.zero_gammas`).
    `teacher`: whose answers the passes distil: "largest" is the first pass of the same step, "frozen" a copy of
    the largest network as it was when the first such phase began. `sort_channels`: whether the phase begins by
    moving the most important middle channels of each layer to the front.
    """

    name: str
    plan: StepPlan
    share: float = 1.0
    lr_scale: float = 1.0
    teacher: Teacher = "none"
    sort_channels: bool = False
    tail: float = 0.0
    zero_gamma: bool = False

    def lr_factor(self, done: float) -> float:
        """What the phase's peak is multiplied by when the share `done` of it is over."""
        return max(self.tail, self.tail ** (1.5 * done)) if self.tail else 0.5 * (1 + math.cos(math.pi * done))


Recipe = Callable[[SearchSpace], Sequence[Phase]]


def single_path(space: SearchSpace) -> Sequence[Phase]:
    """One network a step, uniform over genes (Guo et al. 2020, "Single Path One-Shot", section 3.2)."""

    def plan(rng: random.Random, done: float) -> list[Pass]:
        return [Pass(space.sample_genes(rng))]

    return [Phase("single-path", plan)]


def path_dropout(space: SearchSpace) -> Sequence[Phase]:
    """All ops of a layer at once, each dropped at random, ever more often (Bender et al. 2018, section 3.2).

    Of k ops each is dropped with probability `rate ** (1 / k)`, so that all are with probability `rate`, which rises
    from 0 to `DROPPED`. A layer that would lose all of them is an identity where depth may end before it; elsewhere,
    where the paper's network loses an input, one op drawn anew stays. Resolution and widths are of one network a step.
    """

    def plan(rng: random.Random, done: float) -> list[Pass]:
        largest, drawn = space.max(), space.sample_genes(rng)
        stages = [StageChoice(own.width, top.ops) for own, top in zip(drawn.stages, largest.stages, strict=True)]
        paths = []
        for stage, choice in zip(space.stages, stages, strict=True):
            for layer, ops in enumerate(stage.slots[: len(choice.ops)]):
                kept = kept_paths(ops, DROPPED * done, rng)
                paths.append(kept or (() if layer >= min(stage.depths) else (rng.choice(ops),)))
        return [Pass(Architecture(drawn.resolution, tuple(stages)), paths=tuple(paths))]

    return [Phase("path-dropout", plan)]


def kept_paths(ops: Sequence[T], rate: float, rng: random.Random) -> tuple[T, ...]:
    """Those of `ops` that are not dropped; none is with probability `rate`."""
    return tuple(op for op in ops if rng.random() >= rate ** (1 / len(ops)))


def strict_fairness(space: SearchSpace) -> Sequence[Phase]:
    """Every op of every layer once a step (Chu et al. 2021, "FairNAS", algorithm 1), then one update.

    As many passes as the layer with most ops has ops; genes with fewer options repeat theirs in shuffled
    rounds, so that no option is ever more than one pass ahead of another.
    """

    def plan(rng: random.Random, done: float) -> list[Pass]:
        passes = max(len(ops) for stage in space.stages for ops in stage.slots)

        def rounds(options: Sequence[T]) -> list[T]:
            drawn: list[T] = []
            while len(drawn) < passes:
                drawn += rng.sample(options, len(options))
            return drawn[:passes]

        resolutions = rounds(space.resolutions)
        stages = [
            (rounds(stage.widths), rounds(stage.depths), [rounds(ops) for ops in stage.slots]) for stage in space.stages
        ]
        return [
            Pass(
                Architecture(
                    resolutions[i],
                    tuple(
                        StageChoice(widths[i], tuple(ops[i] for ops in slots[: depths[i]]))
                        for widths, depths, slots in stages
                    ),
                ),
                labels=1 / passes,
            )
            for i in range(passes)
        ]

    return [Phase("strict-fairness", plan)]


def sandwich(space: SearchSpace) -> Sequence[Phase]:
    """The largest, the smallest and two random networks a step, all but the largest learning from the largest.

    Yu et al. 2020, "BigNAS", section 3.1: sandwich rule and in-place distillation.
    """

    def plan(rng: random.Random, done: float) -> list[Pass]:
        others = [space.min(), space.sample_genes(rng), space.sample_genes(rng)]
        return [Pass(space.max()), *(Pass(arch, labels=0.0, teacher=1.0) for arch in others)]

    return [Phase("sandwich", plan, teacher="largest")]


def bignas(space: SearchSpace) -> Sequence[Phase]:
    """As `sandwich`, trained as the paper has it (Yu et al. 2020, sections 3.1 and 3.2).

    Residual blocks begin as identities, the learning rate ends constant at a twentieth of its peak, and dropout is of
    the largest network only. So is weight decay, as in `sandwich`: all weights are the largest network's.
    """
    (phase,) = sandwich(space)

    def plan(rng: random.Random, done: float) -> list[Pass]:
        largest, *others = phase.plan(rng, done)
        return [replace(largest, dropout=0.2), *others]

    return [replace(phase, name="bignas", plan=plan, tail=0.05, zero_gamma=True)]


def progressive_shrinking(space: SearchSpace) -> Sequence[Phase]:
    """The largest network first, then smaller kernels, depths and expand ratios join (Cai et al. 2020, section 3.3).

    Shares of the steps and learning rates follow the released training script (180, 120, 25 + 120 and 25 + 120
    epochs; 1, 2 and 4 networks a step; 1/12, then 1/4 of the kernels' rate for each later choice); widths join with
    the expand ratios.
    """

    def random_networks(shown: SearchSpace, count: int) -> StepPlan:
        def plan(rng: random.Random, done: float) -> list[Pass]:
            return [Pass(shown.sample_genes(rng), labels=1.0, teacher=1.0) for _ in range(count)]

        return plan

    def largest(rng: random.Random, done: float) -> list[Pass]:
        top = space.max()
        return [Pass(Architecture(rng.choice(space.resolutions), top.stages))]

    def phase(name: str, shown: SearchSpace, count: int, share: float, lr: float, sort: bool = False) -> Phase:
        return Phase(name, random_networks(shown, count), share / 590, lr, "frozen", sort)

    kernels = _narrowed(space, depths=1, expands=1)
    return [
        Phase("largest", largest, 180 / 590),
        phase("kernels", kernels, 1, 120, 0.4),
        phase("depths 1", _narrowed(space, depths=2, expands=1), 2, 25, 0.4 / 12),
        phase("depths 2", _narrowed(space, depths=None, expands=1), 2, 120, 0.4 / 4),
        phase("expands 1", _narrowed(space, depths=None, expands=2), 4, 25, 0.4 / 12, sort=True),
        phase("expands 2", space, 4, 120, 0.4 / 4, sort=True),
    ]


ALONE: Final = Phase("alone", lambda rng, done: [Pass(None)])  # for a network without choices


def _narrowed(space: SearchSpace, depths: int | None, expands: int) -> SearchSpace:
    """Only the `depths` largest depths (None: all) and its `expands` largest ratios and widths."""

    def narrowed(stage: Stage) -> Stage:
        def keep(ops: tuple[Op, ...]) -> tuple[Op, ...]:
            ratios = sorted({op.expand for op in ops})[-expands:]
            return tuple(op for op in ops if op.expand in ratios)

        return replace(
            stage,
            widths=stage.widths[-expands:],
            depths=stage.depths if depths is None else stage.depths[-depths:],
            slots=tuple(keep(ops) for ops in stage.slots),
        )

    for index, stage in enumerate(space.stages):
        space = space.with_stage(index, narrowed(stage))
    return space


RECIPES: Final[dict[str, Recipe]] = {
    "single-path": single_path,
    "path-dropout": path_dropout,
    "strict-fairness": strict_fairness,
    "sandwich": sandwich,
    "bignas": bignas,
    "progressive-shrinking": progressive_shrinking,
}
