"""Dropping the options of a space whose networks rank worst, and what that would have kept of the good ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.fewshot.decisions import ASPECTS, Decision, SplitError, decisions_of
from pipeline.ranking.weighted import Floats
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.space import SearchSpace


@dataclass(frozen=True, slots=True)
class Pruning:
    """What dropping options by a ranking leaves: shares of the networks and of their truly best tenth, and the mean
    truth of all and of those that are left (None where none is)."""

    dropped: tuple[str, ...]
    kept: float
    kept_of_best_tenth: float
    mean_truth: float
    mean_truth_kept: float | None


def pruning(
    space: SearchSpace, archs: Sequence[Architecture], scores: Sequence[float], truth: Floats, drop: int
) -> Pruning:
    """`pruned` held against the `truth` of the same networks, higher is better; `dropped` may be fewer than `drop`."""
    smaller, dropped = pruned(space, archs, scores, drop)
    kept = np.array([smaller.contains(arch) for arch in archs])
    best = truth >= np.sort(truth)[-max(1, len(truth) // 10)]
    return Pruning(
        tuple(f"{decision} {option}" for decision, option in dropped),
        float(kept.mean()),
        float(kept[best].mean()),
        float(truth.mean()),
        float(truth[kept].mean()) if kept.any() else None,
    )


def pruned(
    space: SearchSpace, archs: Sequence[Architecture], scores: Sequence[float], drop: int
) -> tuple[SearchSpace, tuple[tuple[Decision, str], ...]]:
    """`space` without its `drop` worst options, and which those were, worst first.

    An option's worth is the mean rank of the networks that have it, against the mean of its decision. Supernets
    tell the worst from the rest far better than the best from the good. Give only networks that the budget
    allows, or the options that make networks small enough may go. Every decision keeps one option at least, and
    an option that no network of `archs` has is not judged. Raises SplitError if scores and networks do not pair.
    """
    if len(archs) != len(scores) or not archs:
        raise SplitError(f"{len(archs)} networks with {len(scores)} scores; one each is needed")
    ranks = np.argsort(np.argsort(np.asarray(scores), kind="stable")) / len(scores)
    worths: list[tuple[float, Decision, str]] = []
    for decision in decisions_of(space):
        if decision.kind in ASPECTS:
            continue  # the op says it already
        chosen = np.array([decision.option_of(arch) for arch in archs])
        for option in decision.options(space):
            own = ranks[chosen == option]
            if len(own):
                worths.append((float(own.mean() - ranks.mean()), decision, option))
    dropped: list[tuple[Decision, str]] = []
    for _, decision, option in sorted(worths, key=lambda worth: worth[0]):
        if len(dropped) == drop:
            break
        try:
            left = [other for other in decision.options(space) if other != option]
        except SplitError:
            continue  # the layer went with the depth that had it
        if left and option in decision.options(space):
            space = decision.restrict(space, left)
            dropped.append((decision, option))
    return space, tuple(dropped)
