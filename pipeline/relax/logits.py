"""One free parameter for each option of each decision, and the gates that a softmax makes of them."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.relax.gates import Gates, hard_gates, real_ops
from pipeline.spaces.architecture import SKIP
from pipeline.spaces.space import SearchSpace

Weigh = Callable[[Tensor], Tensor]  # logits (n,) -> weights (n,) that sum to 1


def softmax(logits: Tensor) -> Tensor:
    """Weights (n,) of the options."""
    return logits.softmax(0)


class OptionLogits(nn.Module):
    """`logits` (options,): of resolutions, then of each stage its widths, depths, projection or op, and ops.

    `allowed` (options,) tells which options have not been ruled out.
    """

    allowed: Tensor

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self._like = hard_gates(space, space.max())
        sizes = [len(space.resolutions)]
        self._keeps: set[int] = set()
        for stage in space.stages:
            self._keeps.add(len(sizes) + 2)
            choosing = SKIP in stage.slots[0] and bool(real_ops(stage.slots[0]))
            sizes += [len(stage.widths), len(stage.depths), 2 * choosing, *(len(real_ops(s)) for s in stage.slots)]
        ends = torch.tensor(sizes).cumsum(0).tolist()
        self._parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        self.logits = nn.Parameter(torch.zeros(ends[-1]))
        self.register_buffer("allowed", torch.ones(ends[-1], dtype=torch.bool))

    @property
    def decisions(self) -> list[slice]:
        """Where the options of each decision that has more than one are among `logits`."""
        return [part for part in self._parts if part.stop - part.start > 1]

    def gates(self, weigh: Weigh = softmax) -> Gates:
        """The gates that `weigh` makes of the logits of each decision."""
        return self._gates(self.logits.masked_fill(~self.allowed, -math.inf), weigh)

    def weighing(self, logits: Tensor) -> Gates:
        """The gates of other `logits` (options,), whatever has been ruled out."""
        return self._gates(logits, softmax)

    def _gates(self, logits: Tensor, weigh: Weigh) -> Gates:
        vectors = []
        for place, (part, like) in enumerate(zip(self._parts, self._like.vectors(), strict=True)):
            if place not in self._keeps:
                vectors.append(weigh(logits[part]))
            else:
                vectors.append(weigh(logits[part])[1] if part.stop > part.start else like.to(logits))
        return self._like.rebuilt(vectors)

    def keep_only(self, decision: slice, option: int) -> None:
        """Decide: of `decision` only its option number `option` is left."""
        self.allowed[decision] = False
        self.allowed[decision.start + option] = True
