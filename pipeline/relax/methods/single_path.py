"""Single-Path NAS (Stamoulis et al. 2019): a step is taken where its weights are larger than a learned threshold."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.relax.chains import Chains
from pipeline.relax.gates import Gates
from pipeline.relax.importance import Importances
from pipeline.relax.method import Method
from pipeline.supernets.supernet import Supernet

if TYPE_CHECKING:
    from pipeline.relax.training import RelaxTraining

_KEPT = 0.6  # of the indicators in the warm-up, as released
_SLOPE = 3.0  # importances differ by parts of 1; the published sums of squares by tens
_RECENT = 0.1  # of the training: what an average over late steps reaches back
_CERTAINTY = 12.0


class SinglePath(Method):
    """`thresholds` (steps,) start at 0, which takes every step.

    Indicators are 0 or 1 in the forward pass and a sigmoid in the backward pass. In the warm-up nothing weighs
    against accuracy, so thresholds rest, and indicators are dropped at random, which trains all networks. A step at
    its threshold is taken and left in turns; what has been learned is how often it was taken of late.
    """

    frozen = 0.25
    taken: Tensor

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        self._chains = Chains(supernet.space)
        self._importances = Importances(self._chains, supernet)
        self.thresholds = nn.Parameter(torch.zeros(len(self._chains.steps)))
        self.register_buffer("taken", torch.ones(len(self._chains.steps)))

    def gates(self, progress: float, generator: torch.Generator) -> Gates:
        taken = indicators(self._importances(), self.thresholds)
        if progress < self.frozen:
            taken = taken * (torch.rand(len(taken), generator=generator) < _KEPT)
        return self._chains.gates(taken)

    def distribution(self) -> Gates:
        # So steep that a chain whose steps are mostly taken is likelier than its beginning.
        return self._chains.gates(torch.sigmoid(_CERTAINTY * (self.taken - 0.5)))

    def before_step(self, training: "RelaxTraining") -> None:
        with torch.no_grad():
            now = (self._importances() > self.thresholds).float()
            self.taken.lerp_(now, min(1.0, 1 / (_RECENT * training.steps)))


def indicators(importances: Tensor, thresholds: Tensor) -> Tensor:
    """1 where an importance (steps,) is above its threshold (steps,), else 0; the gradient is that of a sigmoid of
    their difference."""
    soft = torch.sigmoid(_SLOPE * (importances - thresholds))
    hard = (importances > thresholds).to(soft)
    return hard + soft - soft.detach()
