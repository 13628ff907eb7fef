"""Neural architecture search as first published: a recurrent controller learns from rewards (Zoph & Le 2017).

`Zoph` learns by REINFORCE after every network, `PPO` by proximal policy optimisation in batches (NASNet, Zoph et al.
2018), `MnasNet` likewise with a reward that the latency shapes (Tan et al. 2019, eq. 2).
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.search.candidates import CodeArray, FloatArray
from pipeline.search.pool import FeasibleSpace
from pipeline.search.samplers.base import History, ProposalSampler

if TYPE_CHECKING:
    from pipeline.search.samplers.controller import RecurrentController

_START: Final = 10
_DRAWS: Final = 64
_DECAY: Final = 0.95
_BATCH: Final = 20
_EXPONENT: Final = -0.07  # of MnasNet: half the latency is worth 5 % of the accuracy


class Zoph(ProposalSampler):
    """A feasible unseen network that the controller draws; what it draws outside the budget is given up in part.

    Advantages are rewards, standardised by what was seen until then, over their moving average.
    """

    _learned: "tuple[bytes, int, float, RecurrentController] | None" = None
    _batch = 1

    def propose(self, history: History, problem: FeasibleSpace, rng: np.random.Generator) -> CodeArray:
        if len(history) < _START:
            return problem.random(1, rng, history.seen)
        kept = np.flatnonzero(history.inside)
        codes = history.codes[kept]
        controller = self._controller(codes, standardised(self.rewards(codes, history.scores[kept])), problem)
        drawn = controller.draw(_DRAWS, problem.space.active, rng)
        fallback = problem.reservoir[rng.integers(len(problem.reservoir), size=_DRAWS)]
        mixed = np.where(rng.random(drawn.shape) < 0.5, drawn, fallback)
        return np.concatenate([drawn, mixed])

    def rewards(self, codes: CodeArray, scores: FloatArray) -> FloatArray:
        """What each judged network earned, shape (n,)."""
        return scores

    def _controller(self, codes: CodeArray, rewards: FloatArray, problem: FeasibleSpace) -> "RecurrentController":
        """The controller that has learned from `codes`, going on from the last call where that saw their beginning."""
        import torch

        from pipeline.search.samplers.controller import RecurrentController

        done, baseline = 0, 0.0
        controller = RecurrentController(problem.space.cardinalities, self.seed)
        if self._learned is not None and codes.tobytes().startswith(self._learned[0]):
            _, done, baseline, controller = self._learned
        active = problem.space.active(codes)
        while done + self._batch <= len(codes):
            part = slice(done, done + self._batch)
            advantages = torch.from_numpy(np.clip(rewards[part] - baseline, -3, 3)).float()
            self._learn(controller, codes[part], active[part], advantages)
            for reward in rewards[part]:
                baseline = _DECAY * baseline + (1 - _DECAY) * float(reward)
            done += self._batch
        self._learned = codes[:done].tobytes(), done, baseline, controller
        return controller

    def _learn(self, controller, rows, active, advantages) -> None:  # type: ignore[no-untyped-def]
        controller.reinforce(rows, active, advantages)


class PPO(Zoph):
    """As `Zoph`, learning from batches of 20 by a clipped objective."""

    _batch = _BATCH

    def _learn(self, controller, rows, active, advantages) -> None:  # type: ignore[no-untyped-def]
        controller.clipped(rows, active, advantages)


class MnasNet(PPO):
    """As `PPO`, for accuracy * (cost / limit) ^ -0.07 of the first limited cost.

    Scores that are log likelihoods (none is above 0) are logs of the accuracy already, so the product is a sum.
    """

    def rewards(self, codes: CodeArray, scores: FloatArray) -> FloatArray:
        limits = self.problem.costs.limits
        if not limits:
            return scores
        relative = self.problem.costs[limits[0].name].of(codes) / limits[0].limit
        if (scores > 0).any():
            return np.asarray(scores * relative**_EXPONENT)
        return np.asarray(scores + _EXPONENT * np.log(relative))


def standardised(rewards: FloatArray) -> FloatArray:
    """Each of (n,) rewards in standard deviations from the mean of it and those before it, so that later ones change
    nothing."""
    count = np.arange(1, len(rewards) + 1)
    mean = np.cumsum(rewards) / count
    deviation = np.sqrt(np.maximum(np.cumsum(rewards**2) / count - mean**2, 0.0)) + 1e-9
    return np.asarray((rewards - mean) / deviation)
