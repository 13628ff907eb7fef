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
    gates learn from other images than weights. `frozen`: the share of the steps in which gates do not learn.
    """

    halves = False
    frozen = 0.0
    travel = 6.0  # how far Adam could move a parameter in a whole training

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
        loss = training.loss(gates, training.gate_batch()) + training.limits.penalty(gates) + self.penalty()
        loss.backward()  # type: ignore[no-untyped-call]

    def penalty(self) -> Tensor:
        """What the method adds to the loss of the gates."""
        return torch.zeros(())
