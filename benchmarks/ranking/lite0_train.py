"""Root supernets from published weights, and what each way makes of one at equal cost.

Cost is what training passes compute: multiply-accumulates forwards of all networks and images together (going backwards
costs twice as much again, alike for all). A frozen teacher's answers cost a third of a pass, comparing gradients a pass
for each option, batch and decision; forward passes alone a third.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean

import torch

from benchmarks import common
from benchmarks.ranking.lite0_criteria import DRAWN, lid, lid_passes, ranking_change
from benchmarks.ranking.lite0_pictures import Pictures
from benchmarks.ranking.lite0_problem import SPACE, Scale, random_inside, started
from pipeline.fewshot.criteria import Criterion, Evidence, divide, gradient_passes
from pipeline.fewshot.decisions import Decision, decisions_of
from pipeline.fewshot.partition import Partition
from pipeline.spaces.codes import Codes
from pipeline.spaces.cost import AdditiveCost
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.files import load_supernet, save_supernet
from pipeline.supernets.recipes import Phase, Recipe, sandwich
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet, inherit
from pipeline.supernets.training import EpochEnd, train

BATCH, ROOT_LR, EXTRA_LR = 32, 0.02, 0.03  # a run's own for a start from published weights
_PLANS = 400  # steps that a mean cost is of
_INSIDE = 512  # random networks that tell a criterion what the budget leaves


def parent_teaches(space: SearchSpace) -> Sequence[Phase]:
    """As `sandwich`, but the smaller networks learn from the largest one as it was inherited."""
    (phase,) = sandwich(space)
    return [replace(phase, name="parent teaches", teacher="frozen")]


@dataclass(frozen=True, slots=True)
class Way:
    """What is made of a root: how the space is divided, and how the parts train on.

    `passes(space, batches, decisions)` is what choosing costs, in forward and backward passes of a batch; with `budget`
    the criterion knows networks inside it.
    """

    criterion: str | Criterion = ""  # empty: not at all
    regions: int = 1
    decisions: tuple[str, ...] = ()  # empty: the criterion's usual ones
    recipe: Recipe = sandwich
    passes: Callable[[SearchSpace, int, Sequence[Decision]], float] | None = None
    budget: bool = False


# Gradients of all usual decisions would cost more than a third of what there is to train on with.
DEPTHS = tuple(str(decision) for decision in decisions_of(SPACE) if decision.kind == "depth")
WAYS = {
    "one-shot": Way(),
    "gradient": Way("gradient", 2, DEPTHS, passes=gradient_passes),
    "resolution": Way("exhaustive", 2, ("resolution",)),
    "resolution, parent teaches": Way("exhaustive", 2, ("resolution",), parent_teaches),
    "gradient, budget": Way("gradient", 2, DEPTHS, passes=gradient_passes, budget=True),
    "LID": Way(lid, 2, DEPTHS, passes=lid_passes, budget=True),
    "ranking change": Way(ranking_change, 2, (*DEPTHS, "resolution"), passes=lambda *_: DRAWN, budget=True),
}


@dataclass(frozen=True)
class Seed:
    """One seed's supernets in a folder; what is there is not trained again, what was killed goes on."""

    folder: Path
    seed: int
    scale: Scale
    pictures: Pictures

    @cached_property
    def root(self) -> Supernet:
        """The supernet of the whole space, from published weights."""
        settings = self.settings(self.scale.root_epochs, ROOT_LR, False)
        return self.trained(
            self.folder / "root.safetensors", lambda: started(self.seed, self.pictures.classes), settings
        )

    def partition(self, name: str) -> Partition:
        """How this way divides the space; gradients are those of the root."""
        way, path = WAYS[name], self.folder / slug(name) / "partition.json"
        if not way.criterion:
            return Partition.whole(SPACE)
        if not path.is_file():
            data = self.pictures.train
            generator = torch.Generator().manual_seed(self.seed)
            order = torch.randperm(len(data), generator=generator)
            parts = torch.split(order[: self.scale.gradient_batches * BATCH], BATCH)
            batches = [data.training_batch(part, generator) for part in parts] if way.passes else []
            inside = random_inside(_INSIDE, self.seed) if way.budget else []
            evidence = Evidence(self.root, batches, random.Random(self.seed), common.progress, inside)
            decisions = [Decision.parse(text) for text in way.decisions]
            divide(SPACE, way.criterion, way.regions, evidence, decisions).save(path)
        return Partition.load(path)

    def epochs(self, name: str) -> float:
        """For how long each part of this way trains on, at the cost of `extra_epochs` of the whole supernet."""
        way, images = WAYS[name], len(self.pictures.train)
        left = self.scale.extra_epochs * images * cost_per_image(SPACE, sandwich)
        if way.passes:
            each = AdditiveCost(SPACE, lambda block: block.macs)
            some = [SPACE.sample_genes(random.Random(n)) for n in range(_PLANS)]
            drawn = Codes(SPACE).encode(random_inside(_INSIDE, self.seed) if way.budget else some)
            passes = way.passes(SPACE, self.scale.gradient_batches, list(map(Decision.parse, way.decisions)))
            left -= passes * min(BATCH, images) * float(each(drawn).mean())
        return left / sum(images * cost_per_image(region, way.recipe) for region in self.partition(name).regions)

    def child(self, name: str, number: int) -> Supernet:
        """The supernet of one region of a way after it has trained on."""
        region, settings = self.partition(name).regions[number], self.settings(self.epochs(name), EXTRA_LR, True)
        return self.trained(self.file(name, number), lambda: inherit(self.root, region), settings, WAYS[name].recipe)

    def file(self, name: str, number: int) -> Path:
        """Where the supernet of one region is."""
        return self.folder / slug(name) / f"{number}.safetensors"

    def settings(self, epochs: float, lr: float, continues: bool) -> TrainSettings:
        """As a run trains supernets that start from published weights."""
        return TrainSettings("sandwich", epochs, BATCH, lr, seed=self.seed, continues=continues)

    def trained(
        self, file: Path, begin: Callable[[], Supernet], settings: TrainSettings, recipe: Recipe = sandwich
    ) -> Supernet:
        """A supernet trained from what `begin` returns, in `file`; beside it the weights after each epoch."""
        if not file.is_file():
            supernet = begin()
            checkpoint = file.with_suffix(".checkpoint")

            def keep(end: EpochEnd) -> None:
                if isinstance(end.model, Supernet):
                    save_supernet(end.model, file.with_suffix(f".after-{end.step:06d}"))

            train(supernet, self.pictures.train, settings, checkpoint, common.progress, keep, recipe)
            save_supernet(supernet, file)
            checkpoint.unlink()
        return load_supernet(file)


def cost_per_image(space: SearchSpace, recipe: Recipe) -> float:
    """Multiply-accumulates of one step for each image of its batch, on average over steps."""
    macs, rng = AdditiveCost(space, lambda block: block.macs), random.Random(0)
    (phase,) = recipe(space)
    plans = [[one.arch for one in phase.plan(rng, 0.5) if one.arch is not None] for _ in range(_PLANS)]
    answers = float(macs(Codes(space).encode([space.max()]))[0]) / 3 if phase.teacher == "frozen" else 0.0
    return fmean(float(macs(Codes(space).encode(plan)).sum()) + answers * len(plan) for plan in plans)


def slug(name: str) -> str:
    """A folder's name."""
    return name.replace(",", "").replace(" ", "-")
