"""REINFORCE with a controller (Zoph & Le 2017; Williams 1992), replayed from the history.

The controller holds one softmax per gene. Genes that a network lacks get no gradient.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.search.candidates import CodeArray, FloatArray
from pipeline.search.pool import FeasibleSpace
from pipeline.search.samplers.base import History, ProposalSampler
from pipeline.search.samplers.zoph import standardised

_START: Final = 10
_DRAWS: Final = 256
_MEMORY: Final = 1000  # what was judged before has left no trace in the policy by then
_RATE: Final = 0.3
_DECAY: Final = 0.9
_ENTROPY: Final = 1e-3


class Reinforce(ProposalSampler):
    """A feasible unseen network drawn from the controller that the judged networks have trained.

    The reward is the score, standardised by what was seen until then; the baseline is its moving average.
    """

    def propose(self, history: History, problem: FeasibleSpace, rng: np.random.Generator) -> CodeArray:
        if len(history) < _START:
            return problem.random(1, rng, history.seen)
        controller = Controller(problem.space.cardinalities)
        kept = np.flatnonzero(history.inside)[-_MEMORY:]
        controller.replay(history.codes[kept], problem.space.active(history.codes[kept]), history.scores[kept])
        # A narrow budget may refuse everything the controller draws: start from what fits and follow it in part.
        drawn = controller.draw(_DRAWS, rng)
        fallback = problem.reservoir[rng.integers(len(problem.reservoir), size=_DRAWS)]
        mixed = np.where(rng.random(drawn.shape) < 0.5, drawn, fallback)
        return np.concatenate([drawn, mixed])


class Controller:
    """Independent softmax policies over the options of each gene, trained by policy gradient."""

    def __init__(self, cardinalities: tuple[int, ...]) -> None:
        self._sizes = np.array(cardinalities)
        self.logits = np.where(np.arange(self._sizes.max()) < self._sizes[:, None], 0.0, -np.inf)
        self._baseline = 0.0

    def probabilities(self) -> FloatArray:
        """Chance of each option, shape (genes, most options)."""
        raised = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    def replay(self, codes: CodeArray, active: NDArray[np.bool_], scores: FloatArray) -> None:
        """One update per judged network, in order: `codes` and `active` (n, genes), `scores` (n,)."""
        for row, mask, reward in zip(codes, active, standardised(scores), strict=True):
            self.update(row, mask, float(reward))

    def update(self, row: CodeArray, active: NDArray[np.bool_], reward: float) -> None:
        """Ascend (reward - baseline) * grad log p(row) plus a small entropy bonus, on the genes that
        exist: `row` and `active` are (genes,)."""
        advantage = float(np.clip(reward - self._baseline, -3, 3))
        self._baseline = _DECAY * self._baseline + (1 - _DECAY) * reward
        step = advantage * self.gradient(row) + _ENTROPY * self._entropy_gradient()
        self.logits = self.logits + _RATE * np.where(active[:, None], step, 0.0)

    def gradient(self, row: CodeArray) -> FloatArray:
        """Gradient of log p(row) with respect to the logits, shape (genes, most options)."""
        chosen = np.arange(self.logits.shape[1]) == row[:, None]
        return np.asarray(chosen - self.probabilities())

    def draw(self, n: int, rng: np.random.Generator) -> CodeArray:
        """Rows (n, genes) from the policy."""
        edges = np.cumsum(self.probabilities(), axis=1)
        edges[:, -1] = 1.0
        options = (rng.random((n, len(edges), 1)) > edges).sum(axis=2)
        return np.asarray(options, dtype=np.uint8)

    def _entropy_gradient(self) -> FloatArray:
        p = self.probabilities()
        logs = np.log(np.maximum(p, 1e-300))
        entropy = -(p * logs).sum(axis=1, keepdims=True)
        return np.asarray(-p * (logs + entropy))
