"""How dear a limited cost is, found while training: one multiplier for each limit, by dual ascent."""

import torch
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.relax.cost import ExpectedCost
from pipeline.relax.gates import Gates
from pipeline.search.costs import Costs
from pipeline.spaces.cost import AdditiveCost

_STIFFNESS = 2.0  # how much of a multiplier is the present violation, and not what has gathered
_TRAVEL = 20.0  # what a multiplier gathers in a whole training at a constant violation of 1 (a factor e too dear)


class Limits:
    """The term `multiplier * log(cost)` of each limit (Stamoulis et al. 2019, eq. 8), with the multiplier that keeps
    the cost at its limit: an augmented Lagrangian, so that nobody tunes lambda.

    `multipliers` is the state (limits,); `names` are those of the costs.
    """

    def __init__(self, costs: Costs, steps: int) -> None:
        self.names = [limit.name for limit in costs.limits]
        self.multipliers = torch.zeros(len(self.names), dtype=torch.float64)
        self._rate = _TRAVEL / max(1, steps)
        self._bounds = torch.tensor([limit.limit / costs[limit.name].margin for limit in costs.limits]).double()
        self.described = {limit.name: limit.limit for limit in costs.limits}
        self._expected = [ExpectedCost(_additive(costs, name)) for name in self.names]

    def log_excess(self, gates: Gates) -> Tensor:
        """log(expected cost / its limit) for each limit, margins included, shape (limits,): at most 0 is inside."""
        if not self.names:
            return torch.zeros(0, dtype=torch.float64)
        return torch.stack([cost(gates) for cost in self._expected]).log() - self._bounds.log()

    def penalty(self, gates: Gates) -> Tensor:
        """What to add to the loss, a scalar."""
        excess = self.log_excess(gates)
        return (self.weights(excess) * excess).sum().float()

    def weights(self, excess: Tensor) -> Tensor:
        """The weight of each log cost at a given excess, shape (limits,) both: 0 where a limit does not bind."""
        return (self.multipliers + _STIFFNESS * excess.detach()).clamp(min=0)

    def update(self, gates: Gates) -> None:
        """Dearer what exceeds its limit, cheaper what does not."""
        self.multipliers = (self.multipliers + self._rate * self.log_excess(gates).detach()).clamp(min=0)


def _additive(costs: Costs, name: str) -> AdditiveCost:
    of = costs[name].of
    if not isinstance(of, AdditiveCost):
        raise PipelineError(f"cost {name!r} is no sum over blocks, so it has no gradient; relaxing methods need one")
    return of
