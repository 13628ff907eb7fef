"""Softmax gates trained on other images than the weights: DARTS (Liu et al. 2019) and FBNet (Wu et al. 2019)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.relax.gates import Gates
from pipeline.relax.hypergradient import hypergradient
from pipeline.relax.logits import OptionLogits, Weigh, softmax
from pipeline.relax.method import Method
from pipeline.supernets.supernet import Supernet

if TYPE_CHECKING:
    from pipeline.relax.training import RelaxTraining

_SHARP = 12.0  # what logits are multiplied by at the end
_HOT, _COLD = 5.0, 0.087  # of FBNet: 5 at the start, times 0.956 in each of 90 epochs


class Darts(Method):
    """Every option weighed by a softmax; the gradient of the gates takes the weights as they are (first order).

    The options of a layer share weights and are mixed before they are computed, not after, so that a step costs
    what the largest network does and not the sum of all options. The softmax sharpens while it trains: a soft
    mixture may keep a limit that the network read off it exceeds or, as often, leaves far from used.
    """

    halves = True
    frozen = 0.1

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        self.options = OptionLogits(supernet.space)

    def gates(self, progress: float, generator: torch.Generator) -> Gates:
        return self.options.gates(_sharp(_SHARP**progress))

    def distribution(self) -> Gates:
        return self.options.gates(_sharp(_SHARP))


class SecondOrderDarts(Darts):
    """As `Darts`, with the gradient through one step of the weights: five passes a step instead of two."""

    def gate_gradients(self, training: "RelaxTraining") -> None:
        weight_batch, gate_batch = training.weight_batch(), training.gate_batch()
        weights, logits = list(training.supernet.parameters()), self.options.logits

        def validation() -> Tensor:
            gates = training.gates("gates")
            return training.loss(gates, gate_batch) + self.penalty(training, gates)

        (logits.grad,) = hypergradient(
            weights,
            [logits],
            lambda: training.loss(training.gates("gates"), weight_batch),
            validation,
            float(training.optimizer.param_groups[0]["lr"]),
        )


class FBNet(Darts):
    """As `Darts`, the softmax drawn with Gumbel noise at a temperature that falls, so that gates end hard."""

    def gates(self, progress: float, generator: torch.Generator) -> Gates:
        heat = _HOT * (_COLD / _HOT) ** progress

        def drawn(logits: Tensor) -> Tensor:
            noise = -torch.empty_like(logits).exponential_(generator=generator).log()
            return softmax((_SHARP**progress * logits + noise) / heat)

        return self.options.gates(drawn)


def _sharp(by: float) -> Weigh:
    return lambda logits: softmax(by * logits)
