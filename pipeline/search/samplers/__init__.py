"""The search methods: every one an Optuna sampler that proposes feasible, unjudged networks."""

from collections.abc import Mapping
from typing import Final

from pipeline.search.samplers.base import History, ProposalSampler
from pipeline.search.samplers.evolution import NSGA2, AgingEvolution
from pipeline.search.samplers.guided import Guided
from pipeline.search.samplers.local import LocalSearch
from pipeline.search.samplers.ofa import PredictorEvolution
from pipeline.search.samplers.random_networks import RandomNetworks
from pipeline.search.samplers.reinforce import Reinforce
from pipeline.search.samplers.tpe import TPE
from pipeline.search.samplers.weaknas import WeakPredictors
from pipeline.search.samplers.zoph import PPO, MnasNet, Zoph
from pipeline.search.settings import Method, Relaxing

SAMPLERS: Final[Mapping[Method, type[ProposalSampler]]] = {
    "guided": Guided,
    "tpe": TPE,
    "nsga2": NSGA2,
    "rea": AgingEvolution,
    "reinforce": Reinforce,
    "zoph": Zoph,
    "ppo": PPO,
    "mnasnet": MnasNet,
    "weaknas": WeakPredictors,
    "ofa": PredictorEvolution,
    "local": LocalSearch,
    "random": RandomNetworks,
}

__all__ = ["SAMPLERS", "History", "ProposalSampler", "sampler_of"]


def sampler_of(method: Method | Relaxing) -> type[ProposalSampler]:
    """Who proposes. What a relaxing method proposes is in the study's queue; after it come random networks."""
    return next((SAMPLERS[name] for name in SAMPLERS if name == method), RandomNetworks)
