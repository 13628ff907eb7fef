"""The weights of the ranker's parts: found where the truth shows them, left alone where it does not."""

import numpy as np
import pytest

from latency_tables.blocks import total_macs
from pipeline.errors import PipelineError
from pipeline.fewshot.partition import Partition
from pipeline.ranking.prior import WEIGHTS, Weights
from pipeline.ranking.ranked import RankedScorer
from pipeline.ranking.statistics import kendall_tau
from pipeline.ranking.weighing import weigh, weighed_without_own
from pipeline.ranking.weighted import Floats
from tests.ranking.test_ranker import SPACE, networks


def parts(n: int, seed: int) -> Floats:
    """Independent parts in standard deviations."""
    return np.random.default_rng(seed).normal(size=(n, 3))


@pytest.mark.parametrize("weights", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.5, 0.5, 1.0), (0.25, 0.75, 1.5)])
def test_the_weights_that_made_the_truth_are_found(weights: Weights) -> None:
    found = parts(40, 0)
    truth = found @ np.array(weights)
    assert weigh(found, truth) == weights
    tau = kendall_tau(weighed_without_own(found, truth), truth)
    assert tau is not None and tau > 0.95


def test_weights_chosen_by_noise_promise_nothing() -> None:
    """What they rank is each time a network that did not choose them."""
    taus = []
    for seed in range(6):
        truth = np.random.default_rng(100 + seed).normal(size=25)
        taus.append(kendall_tau(weighed_without_own(parts(25, seed), truth), truth) or 0.0)
    assert np.mean(taus) < 0.1


def test_a_truth_that_orders_nothing_changes_nothing() -> None:
    assert weigh(parts(20, 0), np.ones(20)) == WEIGHTS


def test_too_few_networks_are_refused() -> None:
    with pytest.raises(PipelineError, match="19 networks"):
        weigh(parts(19, 0), np.arange(19.0))


def test_a_ranker_believes_what_it_is_told_to() -> None:
    archs = networks(40, 5)
    scores = np.random.default_rng(0).normal(size=40).tolist()
    macs = [float(np.log(total_macs(SPACE.blocks(arch)))) for arch in archs]
    for weights, told, order in (((1.0, 0.0, 0.0), scores, scores), ((0.0, 0.0, 1.0), macs, macs)):
        ranker = RankedScorer.learn(Partition.whole(SPACE), archs, told, [], weights)
        assert kendall_tau(ranker(archs, [0.0] * 40 if told is macs else told), order) == pytest.approx(1, abs=0.02)
