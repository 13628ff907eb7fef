"""What a search found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.search.costs import Costs


@dataclass(frozen=True, slots=True)
class Candidate:
    """A judged network. `arch` is its spelling, `costs` are by name (latency_ms, macs, …) without margins."""

    arch: str
    score: float
    costs: Mapping[str, float]
    trial: int
    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found, best first (`front`: the undominated ones in score and the front's cost).

    `stopped` networks fell behind in training (`[search] pruner`); they count as evaluations and have no score.
    `seconds` is the time of its evaluations and proposals, summed over workers and earlier calls, `judging_seconds`
    that of the evaluations alone.
    """

    candidates: tuple[Candidate, ...]
    front: tuple[Candidate, ...]
    evaluations: int
    withdrawn: int
    failed: int
    feasible_share: float
    exhausted: bool
    seconds: float
    judging_seconds: float
    stopped: int = 0

    @property
    def best(self) -> Candidate:
        """The candidate of the highest score; the earliest one among equals."""
        return self.candidates[0]


def front_cost(costs: Costs) -> str:
    """The cost that a front trades accuracy for: the first limited one, else the first there is."""
    return costs.limits[0].name if costs.limits else costs.costs[0].name


def undominated(candidates: Sequence[Candidate], cost: str) -> tuple[Candidate, ...]:
    """The candidates that no other beats in score at no higher `cost`, cheapest first."""
    front: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.costs[cost], -c.score, c.trial)):
        if not front or candidate.score > front[-1].score:
            front.append(candidate)
    return tuple(front)
