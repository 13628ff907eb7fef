"""Criteria: exact groupings on planted clusters, and one contract that every criterion passes."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.fewshot.criteria import CRITERIA, Evidence, divide, gradient_passes, usual_decisions, widest_cut
from pipeline.fewshot.decisions import Decision, SplitError, decisions_of
from pipeline.fewshot.gradients import cosine_distance, network_gradient, option_distances
from pipeline.fewshot.grouping import best_grouping, divisions
from pipeline.fewshot.partition import Groups
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.supernet import Sharing, Supernet
from tests.relax.planted import SQUEEZED_SPACE


def narrow(name: str, resolution: int = 16) -> SearchSpace:
    """A preset with a thin stem and head and narrow stages, so that a gradient costs milliseconds."""
    space = load_space(name)
    stages = tuple(
        replace(stage, widths=tuple(8 * (i + 1) for i in range(len(stage.widths)))) for stage in space.stages
    )
    return replace(
        space,
        resolutions=(resolution,),
        classes=10,
        stem=replace(space.stem, channels=8),
        stages=stages,
        head=replace(space.head, channels=16, mix=0, hidden=0),
        base=None,
    )


def evidence(space: SearchSpace, sharing: Sharing = "separate", seed: int = 0) -> Evidence:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(8, 3, 16, 16, generator=generator)
    labels = torch.randint(10, (8,), generator=generator)
    return Evidence(Supernet(space, sharing, seed), [(images, labels)], random.Random(seed))


MACRO = narrow("nas-bench-macro")


def test_planted_clusters_are_found_exactly() -> None:
    rng = np.random.default_rng(0)
    blocks = np.array([0, 1, 0, 1, 1, 0])
    distances = np.where(blocks[:, None] == blocks[None, :], 0.1, 1.0)
    order = rng.permutation(6)
    distances = distances[order][:, order]
    np.fill_diagonal(distances, 0)
    groups = {frozenset(group) for group in best_grouping(distances, 2).groups}
    assert groups == {frozenset(np.flatnonzero(blocks[order] == b).tolist()) for b in (0, 1)}


def test_the_published_three_option_example() -> None:
    distances = np.array([[0, 0.1, 0.9], [0.1, 0, 0.8], [0.9, 0.8, 0]])
    best = best_grouping(distances, 2)
    assert best.groups == ((0, 1), (2,))
    assert best.intra == pytest.approx(0.1)
    assert best.inter == pytest.approx(1.7)
    assert best.mean_inter == pytest.approx(0.85)


@pytest.mark.parametrize(("n", "parts", "count"), [(3, 2, 3), (9, 2, 255), (5, 3, 25), (4, 4, 1), (4, 1, 1)])
def test_every_division_is_tried_once(n: int, parts: int, count: int) -> None:
    found = [frozenset(map(frozenset, groups)) for groups in divisions(n, parts)]
    assert len(found) == len(set(found)) == count


def test_the_best_grouping_beats_every_other() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        half = rng.random((6, 6))
        distances = half + half.T
        best = best_grouping(distances, 3)
        for groups in divisions(6, 3):
            intra = sum(distances[a, b] for group in groups for a, b in combinations(group, 2))
            assert best.intra <= intra + 1e-9
        assert best.intra + best.inter == pytest.approx(distances[np.triu_indices(6, 1)].sum())


def test_impossible_groupings_are_refused() -> None:
    with pytest.raises(SplitError, match="3 groups"):
        best_grouping(np.zeros((2, 2)), 3)
    with pytest.raises(SplitError, match="symmetric"):
        best_grouping(np.array([[0.0, 1.0], [0.0, 0.0]]), 2)
    with pytest.raises(SplitError, match="too many"):
        best_grouping(np.zeros((11, 11)), 2)


def test_gradients_leave_the_supernet_as_it_was() -> None:
    given = evidence(MACRO)
    before = {name: tensor.clone() for name, tensor in given.supernet.state_dict().items()}
    network_gradient(given.supernet, MACRO.min(), *given.batches[0])
    after = given.supernet.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert given.supernet.active == MACRO.max()


def test_scaling_a_loss_does_not_change_the_distance() -> None:
    given = evidence(MACRO)
    one = network_gradient(given.supernet, MACRO.min(), *given.batches[0])
    other = network_gradient(given.supernet, MACRO.max(), *given.batches[0])
    scaled = [None if g is None else 7.5 * g for g in other]
    assert cosine_distance(one, other) == pytest.approx(cosine_distance(one, scaled), abs=1e-6)
    assert cosine_distance(one, one) == pytest.approx(0, abs=1e-6)
    assert cosine_distance(one, [None if g is None else -g for g in one]) == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize("sharing", ["separate", "nested"])
def test_distances_are_symmetric_with_a_zero_diagonal(sharing: Sharing) -> None:
    given = evidence(MACRO, sharing)
    for decision in decisions_of(MACRO):
        distances = option_distances(given.supernet, MACRO, decision, given.batches, random.Random(1))
        assert distances.shape == (len(decision.options(MACRO)),) * 2
        assert np.array_equal(distances, distances.T)
        assert not distances.diagonal().any()
        assert (distances <= 2).all()


def test_options_that_compute_the_same_are_never_split() -> None:
    """A residual layer whose branch is scaled by 0 is the identity, whatever its op, and if it is absent too."""
    given = evidence(MACRO)
    for name, tensor in given.supernet.state_dict().items():
        if name.startswith("banks.stage1_layer2_") and "project_norm" in name:
            tensor.zero_()
    identity, real = Decision("op", 1, 2), Decision("op", 3, 1)
    assert identity.options(MACRO) == ("absent", "k3e3", "k5e6")
    assert not option_distances(given.supernet, MACRO, identity, given.batches, random.Random(0)).any()
    assert len(divide(MACRO, "gradient", 2, given, [identity]).regions) == 1
    assert divide(MACRO, "gradient", 2, given, [identity, real]).splits[0].decision == real


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("name", ["nas-bench-macro", "quickstart"])
def test_contract_of_every_criterion(criterion: str, name: str) -> None:
    space = narrow(name)
    decisions = [d for d in decisions_of(space) if d.kind == "op"][:3]
    assert divide(space, criterion, 1, evidence(space), decisions).regions == (space,)
    partition = divide(space, criterion, 4, evidence(space), decisions)
    assert 3 <= len(partition.regions) <= 4
    assert sum(partition.sizes) == space.size
    assert partition.criterion == criterion
    assert {split.decision for split in partition.splits} <= set(decisions)
    assert divide(space, criterion, 4, evidence(space), decisions) == partition


def test_exhaustive_has_one_region_for_each_option_and_goes_on_below() -> None:
    first, second = Decision("op", 3, 1), Decision("op", 2, 1)
    partition = divide(MACRO, "exhaustive", 5, evidence(MACRO), [first, second])
    assert [s.decision for s in partition.splits] == [first, second]
    assert partition.splits[0].groups == (("skip",), ("k3e3",), ("k5e6",))
    assert len(partition.regions) == 5
    assert len(divide(MACRO, "exhaustive", 4, evidence(MACRO), [first, second]).regions) == 3


@pytest.mark.parametrize(
    ("having", "groups"),
    [
        ({}, (("skip",), ("k3e3", "k5e6"))),  # no budget: what is furthest away
        ({"skip": 6, "k3e3": 7, "k5e6": 7}, (("skip",), ("k3e3", "k5e6"))),
        ({"skip": 1, "k3e3": 10, "k5e6": 9}, (("skip", "k3e3"), ("k5e6",))),  # a region for 1 in 20 pays less
        ({"k3e3": 10, "k5e6": 10}, (("skip", "k3e3"), ("k5e6",))),
        ({"skip": 10, "k3e3": 10}, (("skip",), ("k3e3", "k5e6"))),
    ],
)
def test_cuts_are_weighed_by_what_the_budget_leaves(having: dict[str, int], groups: Groups) -> None:
    decision, rng = Decision("op", 3, 1), random.Random(0)
    inside = [decision.restrict(MACRO, [o]).sample(rng) for o, count in having.items() for _ in range(count)]
    planted = {("k3e3", "k5e6"): 0.5, ("k3e3", "skip"): 0.8, ("k5e6", "skip"): 1.0}

    def distances(part: SearchSpace, decision: Decision, _: Sequence[Architecture]) -> NDArray[np.float64]:
        options = decision.options(part)
        return np.array([[planted.get((min(a, b), max(a, b)), 0.0) for a in options] for b in options])

    split = widest_cut(MACRO, [decision], replace(evidence(MACRO), inside=inside), distances, "")
    assert split is not None and split.groups == groups


@pytest.mark.parametrize("criterion", ["gradient", "similarity"])
def test_an_option_outside_the_budget_is_never_cut_off_alone(criterion: str) -> None:
    decision, rng = Decision("op", 1, 1), random.Random(0)
    inside = [decision.restrict(MACRO, ["skip", "k3e3"]).sample(rng) for _ in range(20)]
    given = replace(evidence(MACRO), inside=inside)
    assert divide(MACRO, criterion, 2, given, [decision]).splits[0].groups == (("skip",), ("k3e3", "k5e6"))
    only = replace(given, inside=[arch for arch in inside if decision.option_of(arch) == "skip"])
    assert len(divide(MACRO, criterion, 2, only, [decision]).regions) == 1


def test_a_region_with_no_network_inside_the_budget_stays_whole() -> None:
    first, second = Decision("op", 3, 1), Decision("op", 2, 1)
    inside = [first.restrict(MACRO, ["skip"]).sample(random.Random(n)) for n in range(20)]
    given = replace(evidence(MACRO), inside=inside)
    partition = divide(MACRO, "gradient", 4, given, [first, second])
    assert all(any(map(region.contains, inside)) for region in partition.regions)
    assert {split.decision for split in partition.splits} == {second}


def test_compared_networks_are_what_they_come_from_with_another_option() -> None:
    space = load_space("ofa-mbv3-1.0")
    for decision in (Decision("depth", 2), Decision("kernel", 2, 3), Decision("resolution")):
        of = space.sample(random.Random(1))
        variants = decision.variants(space, random.Random(2), of)
        assert variants.get(decision.option_of(of)) == of
        assert {decision.option_of(arch) for arch in variants.values()} == set(variants)


def test_similarity_keeps_options_of_like_cost_together() -> None:
    partition = divide(MACRO, "similarity", 2, evidence(MACRO), [Decision("op", 1, 1)])
    assert partition.splits[0].groups == (("skip", "k3e3"), ("k5e6",))


def test_costs_of_comparing_gradients_are_known_before(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = 0

    def counted(*args: object) -> list[torch.Tensor | None]:
        nonlocal passes
        passes += 1
        return network_gradient(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("pipeline.fewshot.gradients.network_gradient", counted)
    divide(MACRO, "gradient", 2, evidence(MACRO))
    assert passes == gradient_passes(MACRO, 1)


def test_kernel_and_expand_stand_for_an_op_that_is_their_product() -> None:
    kinds = {d.kind for d in usual_decisions(load_space("ofa-mbv3-1.0"))}
    assert kinds == {"depth", "kernel", "expand"}
    assert {d.kind for d in usual_decisions(MACRO)} == {"depth", "op"}


def test_with_the_kernel_fixed_the_expand_ratio_stands_for_the_op_and_is_measured_once() -> None:
    kernel = Decision("kernel", 2, 1)
    space = load_space("ofa-mbv3-1.0")
    narrow = kernel.restrict(space, kernel.options(space)[:1])
    assert {d.kind for d in usual_decisions(narrow) if (d.stage, d.layer) == (2, 1)} == {"expand"}


def test_a_squeeze_stands_for_the_op_like_kernel_and_expand_ratio() -> None:
    found = {d.kind for d in usual_decisions(SQUEEZED_SPACE)}
    assert "squeeze" in found and "op" not in found


def test_what_cannot_be_split_is_said() -> None:
    with pytest.raises(SplitError, match="known are exhaustive, random, gradient, similarity"):
        divide(MACRO, "magic", 2, evidence(MACRO))
    with pytest.raises(SplitError, match="at least 1"):
        divide(MACRO, "random", 0, evidence(MACRO))
    with pytest.raises(SplitError, match="only one option"):
        divide(MACRO, "random", 2, evidence(MACRO), [Decision("width", 1)])
