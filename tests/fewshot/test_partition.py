"""Regions are disjoint, covering and counted, whatever the decision and the grouping."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fewshot.decisions import Decision, SplitError, decisions_of
from pipeline.fewshot.partition import Partition, Split
from pipeline.spaces.architecture import ArchitectureError, Op
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace
from pipeline.spaces.stage import Head, Stage, Stem
from tests.spaces.families import FAMILIES

MACRO = load_space("nas-bench-macro")
_OPS = tuple(Op(k, 2, s) for k in (3, 5) for s in (0, 0.25))  # squeeze-and-excitation is a choice of each layer
SQUEEZED = SearchSpace("squeezed", 4, (12,), Stem(8), (Stage((16,), (1, 2), (_OPS, _OPS), 1, "relu"),), Head(16, 0))


def exhaustive(space: SearchSpace, decision: Decision) -> Split:
    return Split(decision, tuple((option,) for option in decision.options(space)))


@pytest.mark.parametrize("name", [*FAMILIES, "squeezed"])
def test_every_decision_of_every_preset_cuts_it_without_loss(name: str) -> None:
    space = SQUEEZED if name == "squeezed" else load_space(name)
    rng = random.Random(1)
    networks = [space.sample_genes(rng) for _ in range(20)]
    for decision in decisions_of(space):
        partition = Partition.whole(space).divided(0, exhaustive(space, decision))
        assert sum(partition.sizes) == space.size
        for arch in networks:
            home = partition.route(arch)
            assert [region.contains(arch) for region in partition.regions].count(True) == 1
            assert decision.option_of(arch) == decision.options(space)[home]
        assert Decision.parse(str(decision)) == decision


def test_regions_hold_exactly_the_networks_that_decided_so() -> None:
    decision = Decision("op", 3, 3)
    assert decision.options(MACRO) == ("absent", "k3e3", "k5e6")
    for group in (("absent",), ("k3e3",), ("absent", "k5e6"), ("k3e3", "k5e6")):
        region = decision.restrict(MACRO, group)
        wanted = {arch for arch in MACRO.enumerate() if decision.option_of(arch) in group}
        assert set(region.enumerate()) == wanted
        assert region.size == len(wanted)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_hierarchy_of_random_groupings_still_counts(data: st.DataObject) -> None:
    partition = Partition.whole(MACRO)
    for _ in range(data.draw(st.integers(1, 4))):
        number = data.draw(st.integers(0, len(partition.regions) - 1))
        decisions = decisions_of(partition.regions[number])
        if not decisions:
            continue
        decision = data.draw(st.sampled_from(decisions))
        options = data.draw(st.permutations(decision.options(partition.regions[number])))
        cut = data.draw(st.integers(1, len(options) - 1))
        partition = partition.divided(number, Split(decision, (tuple(options[:cut]), tuple(options[cut:]))))
    assert sum(partition.sizes) == MACRO.size
    arch = MACRO.sample(random.Random(data.draw(st.integers(0, 99))))
    assert partition.regions[partition.route(arch)].contains(arch)


@pytest.mark.parametrize("name", FAMILIES)
def test_variants_differ_in_the_decision_alone(name: str) -> None:
    space = load_space(name)
    rng = random.Random(3)
    for decision in decisions_of(space):
        variants = decision.variants(space, rng)
        assert list(variants) == list(decision.options(space))
        for option, arch in variants.items():
            assert space.contains(arch)
            assert decision.option_of(arch) == option
        if decision.kind in ("op", "kernel", "expand"):
            present = [arch for option, arch in variants.items() if option != "absent"]
            for arch in present:
                others = [
                    (str(d), d.option_of(arch))
                    for d in decisions_of(space)
                    if (d.stage, d.layer) != (decision.stage, decision.layer)
                ]
                assert others == [
                    (str(d), d.option_of(present[0]))
                    for d in decisions_of(space)
                    if (d.stage, d.layer) != (decision.stage, decision.layer)
                ]


def test_a_partition_with_a_hole_an_overlap_or_a_stranger_is_refused() -> None:
    decision = Decision("op", 1, 1)
    skip, small, large = (decision.restrict(MACRO, [option]) for option in ("skip", "k3e3", "k5e6"))
    with pytest.raises(SplitError, match="together"):
        Partition(MACRO, (skip, small))
    with pytest.raises(SplitError, match="overlap"):
        Partition(MACRO, (skip, decision.restrict(MACRO, ["skip", "k3e3"]), large))
    with pytest.raises(SplitError, match="outside"):
        Partition(skip, (small,))
    with pytest.raises(SplitError, match="each of its options once"):
        Partition.whole(MACRO).divided(0, Split(decision, (("skip",), ("k3e3",))))


def test_networks_outside_the_space_are_not_routed() -> None:
    partition = Partition.whole(MACRO)
    stranger = replace(MACRO.max(), resolution=33)
    with pytest.raises(ArchitectureError, match="resolution 33"):
        partition.route(stranger)


@pytest.mark.parametrize("text", ["stage0.width", "stage1.layer2", "kernel", "stage1.layer1.kernels", ""])
def test_a_misspelt_decision_is_named(text: str) -> None:
    with pytest.raises(SplitError, match="is no decision"):
        Decision.parse(text)


def test_a_decision_that_the_space_lacks_is_named() -> None:
    for text in ("stage9.width", "stage1.layer7.op"):
        with pytest.raises(SplitError, match="is no decision of space 'nas-bench-macro'"):
            Decision.parse(text).options(MACRO)
    with pytest.raises(SplitError, match="k9e9"):
        Decision("op", 1, 1).restrict(MACRO, ["k9e9"])


def test_a_saved_partition_is_read_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "partition.json"
    partition = Partition.whole(MACRO).divided(0, exhaustive(MACRO, Decision("op", 3, 1)))
    partition = partition.divided(1, exhaustive(partition.regions[1], Decision("depth", 2)))
    partition.save(path)
    assert Partition.load(path) == partition
    document = json.loads(path.read_text())
    document["regions"][0]["size"] += 1
    path.write_text(json.dumps(document))
    with pytest.raises(SplitError, match="region 0 says"):
        Partition.load(path)
    document["regions"][0]["size"] -= 1
    document["regions"][0]["colour"] = "blue"
    path.write_text(json.dumps(document))
    with pytest.raises(SplitError, match="colour"):
        Partition.load(path)
