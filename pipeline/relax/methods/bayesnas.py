"""BayesNAS (Zhou et al. 2019): a switch for each step, kept where the data are evidence for it."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.relax.chains import Chains
from pipeline.relax.gates import Gates
from pipeline.relax.method import Method
from pipeline.relax.sparse import gauss_newton_diagonal, reweighted
from pipeline.supernets.supernet import Supernet

if TYPE_CHECKING:
    from pipeline.relax.training import RelaxTraining

_LAMBDA = 0.01  # of the released checkpoints; limits add to it
_ROUNDS = 8
_DRAWS = 8
_DEAD = 1e-3  # a switch of this prior variance is 0
_CERTAINTY = 12.0


class BayesNAS(Method):
    """`switches` (steps,) start at 1 and are penalised by lambda * omega * |switch|, omega learned anew in rounds.

    A step's parent is the step before it in its chain, that of the first the layer's own. Under limits lambda is what
    keeps them, and each switch is penalised in proportion to what it costs.
    """

    frozen = 0.25
    gamma: Tensor
    omega: Tensor
    shares: Tensor
    rounds: Tensor

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        self._chains = Chains(supernet.space)
        count = len(self._chains.steps)
        self._parents = [step.parent for step in self._chains.steps]
        self.switches = nn.Parameter(torch.ones(count))
        for name in ("gamma", "omega", "shares"):
            self.register_buffer(name, torch.ones(count))
        self.register_buffer("rounds", torch.zeros((), dtype=torch.long))

    def gates(self, progress: float, generator: torch.Generator) -> Gates:
        return self._chains.gates(self.switches * (self.gamma > _DEAD))

    def distribution(self) -> Gates:
        alive = self.switches * (self.gamma > _DEAD)
        return self._chains.gates(torch.sigmoid(_CERTAINTY * (alive - 0.5)))

    def penalty(self, training: "RelaxTraining", gates: Gates) -> Tensor:
        dear = float(training.limits.weights(training.limits.log_excess(gates)).sum())
        return ((_LAMBDA + dear * self.shares) * self.omega * self.switches.abs()).sum()

    def before_step(self, training: "RelaxTraining") -> None:
        with torch.no_grad():
            self.switches.clamp_(0, 1)
        if not training.step:
            self.shares.copy_(self._cost_shares(training))
        learned = (training.progress - self.frozen) / (self.until - self.frozen)
        if learned > 0 and int(self.rounds) < int(learned * (_ROUNDS + 1)):
            self._reweight(training)
            self.rounds += 1

    def _reweight(self, training: "RelaxTraining") -> None:
        images, _ = training.weight_batch()
        gates = training.gates("weights")
        logits = training.logits(images, gates)
        curvature = gauss_newton_diagonal(logits, self.switches, training.generator(f"signs {training.step}"), _DRAWS)
        strength = _LAMBDA + float(training.limits.weights(training.limits.log_excess(gates)).sum())
        gamma, omega = reweighted(self.switches.detach(), curvature / strength, self.gamma, self._parents)
        self.gamma.copy_(gamma)
        self.omega.copy_(omega)

    def _cost_shares(self, training: "RelaxTraining") -> Tensor:
        """What each step adds to the log of the limited costs while all are taken, shape (steps,)."""
        ones = torch.ones_like(self.switches, requires_grad=True)
        excess = training.limits.log_excess(self._chains.gates(ones))
        return torch.autograd.grad(excess.sum(), ones)[0] if len(excess) else torch.ones_like(ones)
