"""The criteria of a benchmark, on known answers."""

import random

import numpy as np
import pytest
import torch

from benchmarks.ranking.lite0_criteria import (
    DRAWN,
    intrinsic_dimension,
    lid,
    lid_profile,
    one_minus_cosine,
    predicted_change,
    ranking_change,
)
from pipeline.fewshot.criteria import Criterion, Evidence, divide
from pipeline.fewshot.decisions import Decision, decisions_of
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.supernet import Supernet
from tests.relax.planted import SPACE

DEPTH = Decision("depth", 2)


def evidence(space: SearchSpace = SPACE, images: int = 32) -> Evidence:
    generator = torch.Generator().manual_seed(0)
    pictures, labels = torch.randn(images, 3, 12, 12, generator=generator), torch.arange(images) % 4
    return Evidence(Supernet(space), [(pictures, labels)], random.Random(0))


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_uniform_points_have_the_dimension_that_they_fill(dimension: int) -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(2000, dimension, generator=generator)
    turned = points @ torch.linalg.qr(torch.randn(30, 30, generator=generator)).Q[:dimension]
    assert intrinsic_dimension(turned) == pytest.approx(dimension, rel=0.15)
    assert intrinsic_dimension(7 * turned) == pytest.approx(intrinsic_dimension(turned))


def test_equal_points_have_a_finite_dimension() -> None:
    assert np.isfinite(intrinsic_dimension(torch.ones(8, 3)))


def test_profiles_have_one_entry_for_each_stage_whatever_the_depth() -> None:
    given = evidence()
    before = {name: tensor.clone() for name, tensor in given.supernet.state_dict().items()}
    profiles = [lid_profile(given.supernet, arch, given.batches[0][0]) for arch in (SPACE.min(), SPACE.max())]
    assert [profile.shape for profile in profiles] == [(2,), (2,)]
    assert all((profile > 0).all() for profile in profiles)
    after = given.supernet.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_cosines_of_known_rows() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    expected = np.array([[0, 1, 1 - 0.5**0.5], [1, 0, 1 - 0.5**0.5], [1 - 0.5**0.5, 1 - 0.5**0.5, 0]])
    assert one_minus_cosine(rows) == pytest.approx(expected)


def test_equal_gradients_change_no_ranking() -> None:
    assert predicted_change(np.full((16, 16), 3.0), np.arange(16) % 2) == pytest.approx(0)


def test_sides_that_agree_inside_shift_losses_and_change_no_ranking() -> None:
    """Gradients (1, 0) on one side and (0, 1) on the other: a split moves all losses of a side alike."""
    sides = np.repeat([0, 1], 8)
    gradients = np.eye(2)[sides]
    assert predicted_change(gradients @ gradients.T, sides) == pytest.approx(0)


def test_a_side_whose_networks_disagree_with_the_rest_changes_its_ranking() -> None:
    rng = np.random.default_rng(0)
    sides, scattered = np.repeat([0, 1], 8), rng.normal(size=16)
    gradients = np.stack([scattered, np.where(sides, 1.0, -1.0)], axis=1)
    along = gradients * np.where(sides, 1.0, -1.0)[:, None] + [0.5, 0]
    crossed = predicted_change(along @ along.T, sides)
    shuffled = [predicted_change(along @ along.T, rng.permutation(sides)) for _ in range(20)]
    assert crossed > 0 and np.isfinite(shuffled).all()
    assert predicted_change(4 * along @ along.T, sides) == pytest.approx(4 * crossed)


def test_the_change_is_that_of_losses_after_the_two_steps() -> None:
    """Linear losses: the difference of a step on one's own side and one on all, each without the network itself."""
    rng = np.random.default_rng(2)
    gradients, sides = rng.normal(size=(12, 5)), np.arange(12) % 2
    change = np.empty(12)
    for one in range(12):
        rest = np.arange(12) != one
        step = gradients[rest & (sides == sides[one])].mean(0) - gradients[rest].mean(0)
        change[one] = -gradients[one] @ step
    expected = np.mean([change[sides == side].std() for side in (0, 1)])
    assert predicted_change(gradients @ gradients.T, sides) == pytest.approx(expected)


@pytest.mark.parametrize("criterion", [lid, ranking_change])
def test_contract_of_a_criterion(criterion: Criterion) -> None:
    decisions = [decision for decision in decisions_of(SPACE) if decision.kind == "depth"]
    partition = divide(SPACE, criterion, 2, evidence(), decisions)
    assert len(partition.regions) == 2 and sum(partition.sizes) == SPACE.size
    assert partition.splits[0].decision in decisions and partition.splits[0].score > 0
    assert divide(SPACE, criterion, 2, evidence(), decisions) == partition


@pytest.mark.parametrize("criterion", [lid, ranking_change])
def test_an_option_that_nobody_inside_the_budget_has_is_not_cut_off(criterion: Criterion) -> None:
    shallow = DEPTH.restrict(SPACE, ["d1", "d2"])
    rng = random.Random(3)
    given = evidence()
    inside = [shallow.sample_genes(rng) for _ in range(4 * DRAWN)]
    known = Evidence(given.supernet, given.batches, random.Random(0), None, inside)
    split = divide(SPACE, criterion, 2, known, [DEPTH]).splits[0]
    assert split.groups == (("d1",), ("d2", "d3"))


def test_a_side_has_a_quarter_of_the_networks() -> None:
    given, rng = evidence(), random.Random(5)
    few = [DEPTH.restrict(SPACE, ["d1"]).sample(rng) for _ in range(2)]
    many = [DEPTH.restrict(SPACE, ["d2"]).sample(rng) for _ in range(DRAWN - 2)]
    known = Evidence(given.supernet, given.batches, random.Random(0), None, [*few, *many])
    assert len(divide(SPACE, ranking_change, 2, known, [DEPTH]).regions) == 1
