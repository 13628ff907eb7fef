"""What the winner is compared with, and whether the budget leaves enough of it: known before anything is trained."""

from typing import Final

import numpy as np

from pipeline.runs.run import Run

FEWEST_RANDOM: Final = 8  # fewer say too little about the spread of random networks


def too_few_others(found: int) -> bool:
    """Whether so many random networks are no baseline."""
    return found < FEWEST_RANDOM


def comparison_note(run: Run) -> str | None:
    """One line where the winner will be compared with no random networks; None where it will."""
    config = run.config.finetune
    found = len(run.feasible.random(FEWEST_RANDOM + config.candidates, np.random.default_rng(run.config.seed)))
    others = max(0, found - config.candidates)
    if not too_few_others(others):
        return None
    return (
        f"only {found} network(s) inside the budget were found: the winner will not be compared with random ones, for"
        f" which {FEWEST_RANDOM} beside the {config.candidates} candidate(s) are needed"
    )
