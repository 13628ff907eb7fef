"""What the methods that relax a space have in common."""

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.relax.gates import Gates

if TYPE_CHECKING:
    from pipeline.relax.training import RelaxTraining


class Method(nn.Module):
    """How gates come from free parameters, and what is learned from them.

    Its parameters are trained by Adam, and everything that must survive a kill is a parameter or a buffer. `halves`:
    gates learn from other images than weights. They learn from the share `frozen` of the training to `until`.
    `travel` is how far Adam could move a parameter in a whole training.
    """

    halves = False
    frozen = 0.0
    until = 1.0
    travel = 6.0

    @abstractmethod
    def gates(self, progress: float, generator: torch.Generator) -> Gates:
        """The gates of one step; `progress` from 0 to 1 is how much of the training is done."""

    @abstractmethod
    def distribution(self) -> Gates:
        """What has been learned, each gate from 0 to 1."""

    def before_step(self, training: "RelaxTraining") -> None:
        """Called before each step."""

    def gate_gradients(self, training: "RelaxTraining") -> None:
        """Add the gradients of the gates' loss to the parameters, where gates learn from images of their own."""
        gates = training.gates("gates")
        loss = training.loss(gates, training.gate_batch()) + self.penalty(training, gates)
        loss.backward()  # type: ignore[no-untyped-call]

    def penalty(self, training: "RelaxTraining", gates: Gates) -> Tensor:
        """What the gates' loss is besides cross-entropy, a scalar: what they cost."""
        return training.limits.penalty(gates)
