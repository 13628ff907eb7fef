"""The verdict "better than random": how often it errs, by simulation, and what it can see."""

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.ranking.verdict import against_random, on_the_same_images, random_baseline

CASES = 4000


def _shown(candidates: int, advantage: float, noise: float, seed: int) -> float:
    """How often a search is said to be better: `candidates` networks `advantage` standard deviations above random
    ones, the winner picked by a score with `noise`, compared with eight random networks."""
    rng = np.random.default_rng(seed)
    shown = 0
    for _ in range(CASES):
        truth = rng.normal(advantage, 1.0, candidates)
        winner = truth[np.argmax(truth + rng.normal(0, noise, candidates))]
        randoms = rng.normal(0, 1.0, 8)
        shown += against_random(0.8 + 0.01 * winner, (0.8 + 0.01 * randoms).tolist(), candidates).verdict == "better"
    return shown / CASES


@pytest.mark.parametrize(("candidates", "noise"), [(1, 0.0), (3, 1.0), (3, 0.0), (11, 0.5)])
def test_one_more_random_network_is_seldom_called_better(candidates: int, noise: float) -> None:
    """2.5 % is promised; the bound leaves three standard errors of the simulation."""
    assert _shown(candidates, 0.0, noise, seed=candidates) <= 0.025 + 3 * (0.025 * 0.975 / CASES) ** 0.5


def test_what_is_clearly_better_is_called_so() -> None:
    assert _shown(1, 5.0, 0.0, seed=0) > 0.9
    assert _shown(3, 6.0, 1.0, seed=0) > 0.9


def test_worse_is_said_as_plainly_as_better() -> None:
    randoms = [0.80, 0.81, 0.79, 0.80, 0.82, 0.80, 0.81, 0.79]
    assert random_baseline(0.60, randoms)["verdict"] == "worse"
    assert random_baseline(0.95, randoms)["verdict"] == "better"
    assert random_baseline(0.81, randoms)["verdict"] == "not shown"


def test_the_interval_is_students_for_a_new_observation() -> None:
    """n = 2, values 0 and 2: s = sqrt(2), t(0.975, 1) = 12.706; sqrt(1 + 1/2) * sqrt(2) = sqrt(3)."""
    difference = against_random(5.0, [0.0, 2.0])
    assert difference.value == 4.0
    assert difference.high - difference.value == pytest.approx(12.7062 * 3**0.5, rel=1e-4)


def test_few_networks_are_refused() -> None:
    with pytest.raises(PipelineError, match="1 random networks say nothing"):
        against_random(0.5, [0.5])


def test_pairing_images_is_tighter_than_two_accuracies() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.random(400) < 0.8
    ours = theirs.copy()
    ours[np.flatnonzero(~theirs)[:12]] = True  # twelve more right, none lost
    difference = on_the_same_images(ours, theirs)
    assert difference.value == pytest.approx(0.03)
    assert difference.verdict == "better"
    apart = 1.96 * (2 * 0.8 * 0.2 / 400) ** 0.5
    assert difference.high - difference.low < apart
    assert on_the_same_images(theirs, ours).verdict == "worse"
    assert on_the_same_images(ours, ours).verdict == "not shown"


def test_the_paired_interval_covers() -> None:
    """Two equally good networks are told apart in about 5 % of 2,000 test splits."""
    rng = np.random.default_rng(1)
    apart = 0
    for _ in range(2000):
        both = rng.random(300)
        apart += (
            on_the_same_images((both < 0.7) | (rng.random(300) < 0.1), (both < 0.7) | (rng.random(300) < 0.1)).verdict
            != "not shown"
        )
    assert apart / 2000 < 0.06


def test_answers_to_other_images_are_refused() -> None:
    with pytest.raises(PipelineError, match="cannot be paired"):
        on_the_same_images(np.ones(3, dtype=bool), np.ones(4, dtype=bool))
