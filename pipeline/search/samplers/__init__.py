"""The search methods: every one an Optuna sampler that proposes feasible, unjudged networks."""

from collections.abc import Mapping
from typing import Final

from pipeline.search.samplers.base import History, ProposalSampler
from pipeline.search.samplers.guided import Guided
from pipeline.search.samplers.random_networks import RandomNetworks
from pipeline.search.samplers.tpe import TPE
from pipeline.search.settings import Method

SAMPLERS: Final[Mapping[Method, type[ProposalSampler]]] = {
    "guided": Guided,
    "tpe": TPE,
    "random": RandomNetworks,
}

__all__ = ["SAMPLERS", "History", "ProposalSampler"]
