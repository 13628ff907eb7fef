"""DARTS-PT (Wang et al. 2021): an option is worth what the network loses without it, not what its gate weighs."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.relax.gates import Gates
from pipeline.relax.methods.darts import Darts
from pipeline.supernets.supernet import Supernet

if TYPE_CHECKING:
    from pipeline.relax.training import RelaxTraining

_BATCHES = 4  # that judge each removal, the same ones for all
_DECIDED_BY = 0.97  # so that weights are tuned after the last decision too
_SHARPNESS = 20.0  # how surely a difference of 1 nat decides, for reading off the nearest network that fits


class DartsPT(Darts):
    """Trains as `Darts` for half of its steps, then decides one decision after the other, in seeded order.

    Each option is left out in turn, and the one whose absence costs most is kept. Cost is cross-entropy plus, for
    each limit, multiplier times log cost; weights are tuned in between.
    """

    until = 0.5
    decided: Tensor
    losses_without: Tensor

    def __init__(self, supernet: Supernet) -> None:
        super().__init__(supernet)
        self.register_buffer("decided", torch.zeros((), dtype=torch.long))
        self.register_buffer("losses_without", torch.zeros(len(self.options.logits)))

    def distribution(self) -> Gates:
        """How much worse the network was without each option when that was decided."""
        return self.options.weighing(_SHARPNESS * self.losses_without)

    def before_step(self, training: "RelaxTraining") -> None:
        decisions = self.options.decisions
        if training.progress < self.until:
            return
        share = (training.progress - self.until) / (_DECIDED_BY - self.until)
        last = training.step == training.steps - 1
        due = len(decisions) if last else min(len(decisions), 1 + int(share * len(decisions)))
        order = torch.randperm(len(decisions), generator=training.generator("order of decisions")).tolist()
        while int(self.decided) < due:
            self._decide(training, decisions[order[int(self.decided)]])
            self.decided += 1

    def _decide(self, training: "RelaxTraining", decision: slice) -> None:
        without = torch.tensor([self._loss_without(training, place) for place in range(*decision.indices(1 << 30))])
        self.losses_without[decision] = without - without.max()
        self.options.keep_only(decision, int(without.argmax()))

    @torch.no_grad()
    def _loss_without(self, training: "RelaxTraining", place: int) -> float:
        self.options.allowed[place] = False
        gates = training.gates("gates")
        self.options.allowed[place] = True
        loss = sum(training.loss(gates, training.gate_batch(extra)) for extra in range(_BATCHES)) / _BATCHES
        return float(loss + training.limits.penalty(gates))
