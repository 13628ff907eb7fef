"""Trainings that are compared on the way: Hyperband's rungs, and what may be learned from unfinished ones."""

from collections.abc import Sequence
from typing import Final

from optuna.trial import FrozenTrial, TrialState

REDUCTION: Final = 3  # of the trainings that meet at a rung, one in so many goes on
_ENOUGH: Final = 10  # networks that a model of one rung needs


def is_rung(epoch: int) -> bool:
    """Whether a training is compared with others after so many epochs: 1, 3, 9, …"""
    while epoch % REDUCTION == 0:
        epoch //= REDUCTION
    return epoch == 1


def was_judged(trial: FrozenTrial) -> bool:
    """Whether the network of `trial` has a score, or fell behind in training; not one that another worker took."""
    return trial.state is TrialState.COMPLETE or (trial.state is TrialState.PRUNED and bool(trial.intermediate_values))


def comparable(trials: Sequence[FrozenTrial]) -> list[tuple[FrozenTrial, float]]:
    """Judged trials with scores of one length of training: the longest that at least ten have reached.

    Falkner et al. 2018 ("BOHB", section 4.1): the model is that of the largest budget with enough observations.
    Without a pruner, all of them with their scores.
    """
    finished = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    lengths = {epoch for trial in trials for epoch in trial.intermediate_values}
    if not lengths or len(finished) >= _ENOUGH:
        return [(trial, float(trial.values[0])) for trial in finished]
    for length in sorted(lengths, reverse=True):
        reached = [trial for trial in trials if length in trial.intermediate_values]
        if len(reached) >= _ENOUGH:
            break
    return [(trial, trial.intermediate_values[length]) for trial in reached]
