"""Which phases a training has, and which steps are whose."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.errors import PipelineError
from pipeline.supernets.aware import QuantisationAware
from pipeline.supernets.network import Network
from pipeline.supernets.recipes import ALONE, RECIPES, Phase, Recipe
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet

Trained = Supernet | Network | QuantisationAware


def phases_of(model: Trained, settings: TrainSettings, recipe: Recipe | None) -> Sequence[Phase]:
    """The phases of the recipe that the settings name, or of one's own; PipelineError where it trains no such model."""
    if recipe is not None:
        if isinstance(model, Network | QuantisationAware):
            raise PipelineError("a recipe says which networks of a supernet train; a network without choices has none")
        return _last(recipe(model.space)) if settings.continues else recipe(model.space)
    known = ["alone"] if isinstance(model, Network | QuantisationAware) else list(RECIPES)
    if settings.recipe not in known:
        kind = "a network without choices" if isinstance(model, Network | QuantisationAware) else "a supernet"
        raise PipelineError(f"recipe {settings.recipe!r} does not train {kind}; known are {', '.join(known)}")
    phases = [ALONE] if isinstance(model, Network | QuantisationAware) else RECIPES[settings.recipe](model.space)
    return _last(phases) if settings.continues else phases


def _last(phases: Sequence[Phase]) -> Sequence[Phase]:
    """The last phase as a training of its own, whose settings say at which rate it begins."""
    return [replace(phases[-1], share=1.0, lr_scale=1.0)]


def schedule(phases: Sequence[Phase], steps: int) -> list[tuple[Phase, int, int]]:
    """Each phase with its first step and the one after its last; empty phases are left out."""
    steps_of, share, start = [], 0.0, 0
    for index, phase in enumerate(phases):
        share += phase.share
        end = steps if index == len(phases) - 1 else round(share * steps)
        if end > start:
            steps_of.append((phase, start, end))
        start = max(start, end)
    return steps_of
