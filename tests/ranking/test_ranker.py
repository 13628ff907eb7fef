"""The ranker learns from a few labels, each part can be left out, and it is the ridge regression it says."""

import random

import numpy as np
import pytest

from latency_tables.blocks import total_macs
from pipeline.fewshot.decisions import SplitError
from pipeline.ranking.features import PARTS, Features, Part
from pipeline.ranking.prior import Prior
from pipeline.ranking.ranker import Ranker
from pipeline.ranking.ridge import Ridge
from pipeline.ranking.statistics import kendall_tau
from pipeline.spaces.architecture import SKIP, Architecture
from pipeline.spaces.files import load_space

SPACE = load_space("nas-bench-macro")


def worth(arch: Architecture) -> float:
    """A made-up truth: deep and wide is good, with diminishing returns."""
    return -float(np.exp(-0.05 * sum(op.expand for stage in arch.stages for op in stage.ops)))


def networks(n: int, seed: int) -> list[Architecture]:
    rng = random.Random(seed)
    return [SPACE.sample(rng) for _ in range(n)]


@pytest.mark.parametrize("left_out", PARTS)
def test_every_part_can_be_left_out(left_out: Part) -> None:
    parts = tuple(part for part in PARTS if part != left_out)
    archs = networks(40, 0)
    zeros = [0] * len(archs)
    scores = [worth(arch) for arch in archs]
    full = Features(SPACE, 2)(archs, scores, zeros)
    less = Features(SPACE, 2, parts)(archs, scores, zeros)
    assert less.shape[1] < full.shape[1]
    ranker = Ranker.fit(Features(SPACE, 2, parts), archs, scores, zeros, scores)
    tau = kendall_tau([worth(a) for a in networks(50, 1)], ranker(networks(50, 1), [0.0] * 50, [0] * 50))
    assert tau is not None
    assert tau > (0.6 if "score" not in parts else 0.0)


def test_noisy_labels_and_a_noisy_score_rank_better_together() -> None:
    rng = np.random.default_rng(0)
    labelled, fresh = networks(60, 2), networks(300, 3)
    truth = np.array([worth(arch) for arch in fresh])
    spread = truth.std()

    def noisy(archs: list[Architecture], amount: float) -> list[float]:
        return [worth(arch) + amount * spread * rng.normal() for arch in archs]

    labels, old_scores, scores = noisy(labelled, 0.5), noisy(labelled, 1.0), noisy(fresh, 1.0)
    ranker = Ranker.fit(Features(SPACE), labelled, old_scores, [0] * 60, labels)
    together, alone = kendall_tau(truth, ranker(fresh, scores, [0] * 300)), kendall_tau(truth, scores)
    assert together is not None
    assert alone is not None
    assert together > alone + 0.1


def test_leave_one_out_is_what_leaving_one_out_gives() -> None:
    archs = networks(20, 5)
    labels = [worth(arch) for arch in archs]
    features = Features(SPACE, 1, ("size", "options"))
    ranker = Ranker.fit(features, archs, labels, [0] * 20, labels)
    ridge = ranker.ridge
    assert set(ridge.belief) == {0.2, 1.0}
    x = (features(archs, labels, [0] * 20) - ridge.mean) / ridge.spread * ridge.belief
    y = np.array(labels)
    for out in range(3):
        keep = np.arange(20) != out
        design = np.c_[np.ones(19), x[keep]]
        penalty = np.diag([0.0] + [ridge.penalty] * x.shape[1])
        solved = np.linalg.solve(design.T @ design + penalty, design.T @ y[keep])
        assert np.r_[1.0, x[out]] @ solved == pytest.approx(ridge.leave_one_out[out], abs=1e-9)


def test_the_penalty_follows_how_much_the_columns_tell() -> None:
    rng = np.random.default_rng(0)
    x, fresh = rng.normal(size=(60, 20)), rng.normal(size=(500, 20))
    slope = rng.normal(size=20)
    told, noise = Ridge.fit(x, x @ slope), Ridge.fit(x, np.random.default_rng(0).normal(size=60))
    assert told.penalty < 0.1 and told.explained > 0.99
    assert noise.penalty > 10 and noise.explained < 0.1
    assert np.abs(told(fresh) - fresh @ slope).max() < 0.05


def test_too_few_labels_and_unknown_parts_are_refused() -> None:
    archs = networks(5, 0)
    with pytest.raises(SplitError, match="at least 8"):
        Ranker.fit(Features(SPACE), archs, [0.0] * 5, [0] * 5, [0.0] * 5)
    with pytest.raises(SplitError, match="accepted are score"):
        Features(SPACE, 1, ("colour",))  # type: ignore[arg-type]


def test_a_prior_helps_where_labels_are_few_and_noisy() -> None:
    rng = np.random.default_rng(1)
    judged, fresh = networks(150, 6), networks(300, 7)
    truth = np.array([worth(arch) for arch in fresh])
    scores, asked = ([worth(a) + 2 * truth.std() * rng.normal() for a in archs] for archs in (judged, fresh))
    labels = [worth(arch) + truth.std() * rng.normal() for arch in judged[:12]]
    prior = Prior.learn(SPACE, 1, judged, scores, [0] * 150)
    assert prior(judged, scores, [0] * 150).mean() == pytest.approx(0, abs=1e-9)
    with_prior = Ranker.fit(Features(SPACE), judged[:12], scores[:12], [0] * 12, labels, prior)
    without = Ranker.fit(Features(SPACE), judged[:12], scores[:12], [0] * 12, labels)
    taus = [kendall_tau(truth, ranker(fresh, asked, [0] * 300)) for ranker in (with_prior, without)]
    raw = kendall_tau(truth, asked)
    smoothed = kendall_tau(truth, prior.columns(fresh, asked, [0] * 300)[:, 1])
    assert None not in (*taus, raw, smoothed)
    assert (taus[0] or 0) > (taus[1] or 0) + 0.01
    assert (smoothed or 0) > (raw or 0) + 0.1


def test_size_is_believed_as_the_scores_repay_it() -> None:
    """MACs alone misjudge a space that repays layers; what size explains of the scores does not."""
    rng = np.random.default_rng(2)
    judged, fresh = networks(120, 8), networks(300, 9)

    def layers(archs: list[Architecture]) -> list[float]:
        return [float(sum(op != SKIP for stage in arch.stages for op in stage.ops)) for arch in archs]

    truth = np.array(layers(fresh))
    scores = [score + truth.std() * rng.normal() for score in layers(judged)]
    prior = Prior.learn(SPACE, 1, judged, scores, [0] * 120, (0.0, 0.0, 1.0))
    macs = [float(total_macs(SPACE.blocks(arch))) for arch in fresh]
    by_size = kendall_tau(truth, prior(fresh, [0.0] * 300, [0] * 300))
    assert (by_size or 0) > (kendall_tau(truth, macs) or 0) + 0.1
    # Scores that know nothing of size take nothing from MACs.
    ignorant = Prior.learn(SPACE, 1, judged, rng.normal(size=120).tolist(), [0] * 120, (0.0, 0.0, 1.0))
    assert (kendall_tau(macs, ignorant(fresh, [0.0] * 300, [0] * 300)) or 0) > 0.8


def test_equal_scores_decide_nothing() -> None:
    archs = networks(120, 8)
    for equal in (-0.1 * 3, -1.0):
        prior = Prior.learn(SPACE, 1, archs, [equal] * 120, [0] * 120)
        macs = [float(total_macs(SPACE.blocks(arch))) for arch in archs]
        assert kendall_tau(macs, prior(archs, [equal] * 120, [0] * 120)) == pytest.approx(1)
