"""Which decision to split a region by, and how to group its options: the criteria, behind one interface."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.fewshot.decisions import ASPECTS, Decision, SplitError, decisions_of, open_decisions
from pipeline.fewshot.gradients import Batch, option_distances
from pipeline.fewshot.grouping import MOST_OPTIONS, best_grouping, completed, named
from pipeline.fewshot.names import CriterionName
from pipeline.fewshot.partition import Partition, Split
from pipeline.own import own_name
from pipeline.progress import Progress
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes
from pipeline.spaces.cost import AdditiveCost
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.supernet import Supernet

_NETWORKS_FOR_MEAN_MACS: Final = 256


@dataclass(frozen=True)
class Evidence:
    """What a criterion may look at beside the region: the parent supernet, training batches, a source of chance.

    `inside` are random networks inside the budget; without any, every network counts alike.
    """

    supernet: Supernet
    batches: Sequence[Batch]
    rng: random.Random
    progress: Progress | None = None
    inside: Sequence[Architecture] = ()

    def inside_of(self, region: SearchSpace) -> list[Architecture]:
        """Those of `inside` that are in `region`."""
        return [arch for arch in self.inside if region.contains(arch)]

    def told(self, done: int, total: int, what: str) -> None:
        """Tell how far the criterion is."""
        if self.progress is not None:
            self.progress(done, total, what)


# (region with options to compare only, decision, networks inside the budget) -> symmetric (options, options).
Distances = Callable[[SearchSpace, Decision, Sequence[Architecture]], NDArray[np.float64]]
# (region, decisions to choose from, at most so many parts, evidence) -> how to cut it, None for: leave it whole.
Criterion = Callable[[SearchSpace, Sequence[Decision], int, Evidence], Split | None]


def exhaustive(region: SearchSpace, decisions: Sequence[Decision], parts: int, evidence: Evidence) -> Split | None:
    """One part for each option of the first decision that has few enough (Zhao et al. 2021, "Few-shot NAS")."""
    for decision in decisions:
        options = decision.options(region)
        if len(options) <= parts:
            return Split(decision, tuple((option,) for option in options))
    return None


def at_random(region: SearchSpace, decisions: Sequence[Decision], parts: int, evidence: Evidence) -> Split | None:
    """A decision drawn at random, its options dealt at random into two groups: the baseline of every criterion."""
    decision = evidence.rng.choice(decisions)
    options = list(decision.options(region))
    evidence.rng.shuffle(options)
    cut = evidence.rng.randint(1, len(options) - 1)
    return Split(decision, (tuple(options[:cut]), tuple(options[cut:])))


def gradient(region: SearchSpace, decisions: Sequence[Decision], parts: int, evidence: Evidence) -> Split | None:
    """The decision and the two groups whose gradients disagree most (Hu et al. 2022, "GM-NAS"); `widest_cut`."""

    def distances(part: SearchSpace, decision: Decision, inside: Sequence[Architecture]) -> NDArray[np.float64]:
        return option_distances(evidence.supernet, part, decision, evidence.batches, evidence.rng, inside)

    return widest_cut(region, decisions, evidence, distances, "comparing gradients")


def similarity(region: SearchSpace, decisions: Sequence[Decision], parts: int, evidence: Evidence) -> Split | None:
    """The decision and the two groups whose networks differ most in mean MACs; needs no supernet."""
    rng = np.random.default_rng(evidence.rng.getrandbits(32))

    def distances(part: SearchSpace, decision: Decision, inside: Sequence[Architecture]) -> NDArray[np.float64]:
        means = []
        for option in decision.options(part):
            with_option = decision.restrict(part, [option])
            macs = AdditiveCost(with_option, lambda block: block.macs)
            means.append(float(macs(Codes(with_option).sample(_NETWORKS_FOR_MEAN_MACS, rng)).mean()))
        column = np.array(means)
        return np.asarray(np.abs(column[:, None] - column[None, :]) / column.mean())

    return widest_cut(region, decisions, evidence, distances, "comparing MACs")


CRITERIA: Final[dict[CriterionName, Criterion]] = {
    "exhaustive": exhaustive,
    "random": at_random,
    "gradient": gradient,
    "similarity": similarity,
}


def divide(
    space: SearchSpace,
    criterion: str | Criterion,
    regions: int,
    evidence: Evidence,
    decisions: Sequence[Decision] = (),
) -> Partition:
    """`space` cut into at most `regions` regions; fewer where no decision can cut without passing that number.

    `criterion` is a key of CRITERIA, or one's own.
    The region with most networks (inside the budget, where `evidence` knows it) is always cut next, so several
    decisions make a hierarchy. `decisions` limits
    what may be split (in order of preference, for `exhaustive`); empty means `usual_decisions`. Raises SplitError
    for an unknown criterion, fewer than 1 region, or a decision that the space does not leave open.
    """
    name, choose = _named(criterion)
    if regions < 1:
        raise SplitError(f"{regions} regions are asked for; at least 1 is needed")
    open_decisions(space, map(str, decisions))
    partition = Partition(space, (space,), name)
    closed: set[SearchSpace] = set()
    while len(partition.regions) < regions:
        open_regions = [i for i, region in enumerate(partition.regions) if region not in closed]
        if not open_regions:
            break
        networks = [(len(evidence.inside_of(region)), region.size) for region in partition.regions]
        number = max(open_regions, key=lambda i: networks[i])
        region = partition.regions[number]
        still_open = usual_decisions(region)
        if decisions:
            still_open = sorted(set(decisions_of(region)) & set(decisions), key=list(decisions).index)
        parts = regions - len(partition.regions) + 1
        split = choose(region, still_open, parts, evidence) if still_open else None
        if split is None:
            closed.add(region)
        else:
            partition = partition.divided(number, split)
    return partition


def _named(criterion: str | Criterion) -> tuple[str, Criterion]:
    if not isinstance(criterion, str):
        return own_name(criterion), criterion
    for name, known in CRITERIA.items():
        if name == criterion:
            return name, known
    raise SplitError(f"criterion {criterion!r} is unknown; known are {', '.join(CRITERIA)}")


def usual_decisions(space: SearchSpace) -> list[Decision]:
    """The decisions that are split where nobody names others: those about weights, each once.

    An op is left out where its kernel, expand ratio or squeeze is a decision of its own (with the others fixed, one
    says the same as the op), and the resolution, which all weights serve alike.
    """
    found = decisions_of(space)
    halves = {(d.stage, d.layer) for d in found if d.kind in ASPECTS}
    return [d for d in found if d.kind != "resolution" and not (d.kind == "op" and (d.stage, d.layer) in halves)]


def gradient_passes(space: SearchSpace, batches: int, decisions: Sequence[Decision] = ()) -> int:
    """How many forward and backward passes of one batch the gradient criterion spends on its first cut.

    Fewer where options are not compared because no network inside the budget has them.
    """
    candidates = decisions or usual_decisions(space)
    return batches * sum(len(d.options(space)) for d in candidates if len(d.options(space)) <= MOST_OPTIONS)


def widest_cut(
    region: SearchSpace,
    decisions: Sequence[Decision],
    evidence: Evidence,
    distances: Distances,
    what: str,
) -> Split | None:
    """The best two groups of the decision whose groups are furthest apart; None where no two options differ.

    Groups are the exact minimum of the distance inside; decisions are compared by the mean distance across the cut
    (the paper of `gradient` compares the sum, which among decisions of different kinds favours those with most
    options). Where `evidence` knows networks inside the budget, the mean is over pairs of those: two networks that
    the cut leaves together count 0, so what only few of them have is not worth a region. Options that none of them
    has go where the nearest one goes; a region without any stays whole.
    """
    inside = evidence.inside_of(region)
    if evidence.inside and not inside:
        return None
    found: list[Split] = []
    candidates = [d for d in decisions if len(d.options(region)) <= MOST_OPTIONS]
    for done, decision in enumerate(candidates, 1):
        options = decision.options(region)
        counts = Counter(map(decision.option_of, inside))
        had = [option for option in options if counts[option]] if inside else options
        if len(had) > 1:
            apart = distances(decision.restrict(region, had), decision, inside)
            if inside:
                shares = np.array([counts[option] / len(inside) for option in had])
                apart = apart * np.outer(shares, shares)
            grouping = best_grouping(apart, 2)
            score = 2 * grouping.inter if inside else grouping.mean_inter
            found.append(Split(decision, completed(named(grouping, had), options), score))
        evidence.told(done, len(candidates), what)
    best = max(found, key=lambda split: split.score, default=None)
    return best if best is not None and best.score > 0 else None
