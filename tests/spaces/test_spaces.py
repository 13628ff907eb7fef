"""Properties that every space has: counting, sampling, moves, codes, costs and files."""

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from latency_tables.blocks import Block, total_macs, total_params
from pipeline.spaces.architecture import SKIP, Architecture, ArchitectureError, Op, StageChoice
from pipeline.spaces.codes import Codes
from pipeline.spaces.cost import AdditiveCost
from pipeline.spaces.files import load_space, preset_names, space_from_dict, space_to_dict
from pipeline.spaces.space import SearchSpace
from pipeline.spaces.stage import SQUEEZES, Head, SpaceError, Stage, Stem

PRESETS = {name: load_space(name) for name in preset_names()}
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "spaces" / "mobile-32px.toml"
OPS = (Op(3, 1), Op(3, 2), Op(5, 2), Op(5, 3))
STAGE = {"widths": [8], "depths": [1], "stride": 1, "activation": "relu"}
SQUEEZED = (Op(3, 2, 0.25), Op(5, 3, 1))


@st.composite
def small_spaces(draw: st.DrawFn) -> SearchSpace:
    """Spaces of at most a few thousand networks, with every kind of choice."""

    def some(values: tuple, most: int) -> tuple:  # type: ignore[type-arg]
        return tuple(sorted(draw(st.sets(st.sampled_from(values), min_size=1, max_size=most))))

    stages = []
    for _ in range(draw(st.integers(1, 2))):
        depths = some((1, 2), 2)
        squeeze = draw(st.sampled_from(SQUEEZES))
        ops = OPS if squeeze != "none" else (*OPS, *SQUEEZED)
        first = some((SKIP, *ops), 3)
        slots = (first, *(some(ops, 2) for _ in range(max(depths) - 1)))
        stride = draw(st.sampled_from((1, 2)))
        stages.append(Stage(some((8, 16, 24), 2), depths, slots, stride, "relu", squeeze))
    stem = Stem(draw(st.sampled_from((8, 16))), stride=1)
    return SearchSpace("drawn", 4, some((7, 16), 2), stem, tuple(stages), Head(16, draw(st.sampled_from((0, 24)))))


@pytest.mark.parametrize("name", PRESETS)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_spelling_and_codes_give_back_the_network(name: str, seed: int) -> None:
    space, rng = PRESETS[name], random.Random(seed)
    one, other = space.sample(rng), space.sample_genes(rng)
    assert Architecture.parse(str(one)) == one
    codes = Codes(space)
    assert codes.decode(codes.encode([one, other])) == [one, other]
    assert space.contains(one) and space.contains(other)


@given(space=small_spaces())
@settings(max_examples=40, deadline=None)
def test_counting_costs_and_codes_agree_with_enumeration(space: SearchSpace) -> None:
    archs = list(space.enumerate())
    assert len(archs) == len(set(archs)) == space.size
    assert all(map(space.contains, archs))
    codes = Codes(space)
    rows = codes.encode(archs)
    assert len(np.unique(rows, axis=0)) == len(archs)
    assert codes.decode(rows) == archs
    cost = AdditiveCost(space, lambda block: block.macs + 0.25 * block.params, fixed=3.0)
    expected = [3 + total_macs(blocks) + 0.25 * total_params(blocks) for blocks in map(space.blocks, archs)]
    np.testing.assert_allclose(cost(rows), expected, rtol=1e-12)
    for (value, arch), best in ((cost.minimum(), min(expected)), (cost.maximum(), max(expected))):
        assert value == pytest.approx(best, rel=1e-12)
        assert cost.of(arch) == pytest.approx(best, rel=1e-12)
    assert {block for arch in archs for block in space.blocks(arch)} == set(space.distinct_blocks())


@given(space=small_spaces())
@settings(max_examples=25, deadline=None)
def test_a_space_survives_its_document(space: SearchSpace) -> None:
    assert space_from_dict(space_to_dict(space), "a test") == space


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_their_documents(name: str) -> None:
    assert space_from_dict(space_to_dict(PRESETS[name]), "a test") == PRESETS[name]


def test_shapes_chain_and_the_classifier_comes_last() -> None:
    rng = random.Random(0)
    for space in PRESETS.values():
        blocks = space.with_classes(7).blocks(space.sample(rng))
        for before, after in pairwise(blocks):
            assert (after.in_size, after.in_channels) == (before.out_size, before.out_channels)
        assert blocks[-1] == replace(blocks[-1], kind="linear", out_channels=7)


def _tiny() -> SearchSpace:
    """Depth 1 has 2 networks, depth 2 has 8."""
    stage = Stage((8,), (1, 2), (OPS[:2], OPS), 1, "relu")
    return SearchSpace("tiny", 2, (8,), Stem(8), (stage,), Head(8))


def test_sampling_is_uniform_over_networks_or_over_genes() -> None:
    space, rng = _tiny(), random.Random(7)
    counts = Counter(space.sample(rng) for _ in range(5000))
    assert len(counts) == space.size == 10
    assert chisquare(list(counts.values())).pvalue > 1e-3
    depths = Counter(len(space.sample_genes(rng).stages[0].ops) for _ in range(5000))
    assert chisquare([depths[1], depths[2]]).pvalue > 1e-3


def test_sampling_codes_is_uniform_over_networks_or_over_genes() -> None:
    codes, rng = Codes(_tiny()), np.random.default_rng(7)
    counts = Counter(map(tuple, codes.sample(5000, rng).tolist()))
    assert len(counts) == 10
    assert chisquare(list(counts.values())).pvalue > 1e-3
    depths = Counter(codes.sample(5000, rng, over_networks=False)[:, 2].tolist())
    assert chisquare(list(depths.values())).pvalue > 1e-3


def test_codes_of_layers_that_do_not_exist_are_zero() -> None:
    codes = Codes(PRESETS["ofa-mbv3-1.0"])
    rows = np.full((3, len(codes.names)), 2, dtype=np.uint8) % np.array(codes.cardinalities, dtype=np.uint8)
    rows[:, 1:3] = 0
    rows[:, [gene + 1 for gene in codes.width_genes]] = 0
    canonical = codes.canonical(rows)
    assert not canonical[~codes.active(rows)].any()
    assert (codes.encode(codes.decode(canonical)) == canonical).all()


def test_a_restricted_space_is_a_space() -> None:
    space = PRESETS["ofa-mbv3-1.0"]
    stage = space.stages[2]
    parts = [tuple(op for op in stage.slots[0] if (op.kernel == 3) == is_three) for is_three in (True, False)]
    halves = [space.with_stage(2, replace(stage, slots=(part, *stage.slots[1:]))) for part in parts]
    assert sum(half.size for half in halves) == space.size
    rng = random.Random(3)
    for _ in range(50):
        arch = space.sample(rng)
        assert [half.contains(arch) for half in halves].count(True) == 1


@pytest.mark.parametrize(
    ("arch", "part"),
    [
        ("r31_w24-k3e2_w48-k3e2", "resolution 31"),
        ("r16_w24-k3e2", "1 stages instead of 2"),
        ("r16_w25-k3e2_w48-k3e2", "width 25 of stage 1"),
        ("r16_w24-k3e2-k3e2-k3e2-k3e2_w48-k3e2", "depth 4 of stage 1"),
        ("r16_w24-k3e2_w48-k7e2", "op k7e2 of stage 2 layer 1"),
    ],
)
def test_an_architecture_outside_is_refused_by_name(arch: str, part: str) -> None:
    with pytest.raises(ArchitectureError, match=part):
        PRESETS["quickstart"].blocks(Architecture.parse(arch))


@pytest.mark.parametrize("text", ["", "r16", "r0_w24-k3e2", "r16_w24-k4e2", "r16_w24", "r16_w024-k3e2", "r16-w24-k3e2"])
def test_text_that_is_no_architecture_is_refused(text: str) -> None:
    with pytest.raises(ArchitectureError):
        Architecture.parse(text)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"resolutions": []}, "resolutions"),
        ({"colour": 1}, "colour"),
        ({"classes": 1}, "classes"),
        ({"stages": [{**STAGE, "ops": ["k4e1"]}]}, "k4e1"),
        ({"stages": [STAGE]}, "stage 1 needs 'kernels'"),
        ({"stages": [{**STAGE, "ops": ["k3e1s2"]}]}, "'k3e1s2' is not an op"),
        ({"stages": [{**STAGE, "kernels": [3], "expands": [2], "squeezes": [0, 1.5]}]}, "squeezes"),
        ({"stages": [{**STAGE, "ops": ["k3e2s0.25"], "squeeze": "mid/4"}]}, "squeeze is 'mid/4' for all ops"),
        ({"base": "r16_w8-k3e1_w8-k3e1"}, "2 stages instead of 1"),
        ({"padding": "valid"}, "padding"),
        ({"batchnorm_eps": 0.0}, "batchnorm_eps = 0.0"),
        ({"head": {"channels": 8, "mix": 8, "hidden": 8}}, "not both"),
        ({"scaled_from": {"space": "quickstart", "resolution": 16}}, "stem"),
    ],
)
def test_a_wrong_document_is_refused_by_key(change: dict[str, object], part: str) -> None:
    document: dict[str, object] = {
        "schema_version": 1,
        "name": "mine",
        "classes": 4,
        "resolutions": [16],
        "stem": {"channels": 8},
        "head": {"channels": 8},
        "stages": [{**STAGE, "ops": ["k3e1"]}],
    }
    space_from_dict(document, "mine.toml")
    with pytest.raises(SpaceError, match=part):
        space_from_dict(document | change, "mine.toml")


@pytest.mark.parametrize(
    ("scaled_from", "part"),
    [
        ({"space": "quickstart", "resolution": 16}, "not built around a network"),
        ({"space": "mine.toml", "resolution": 16}, "'mine.toml' is no preset; known are efficientnet-b0"),
        ({"space": "efficientnet-b0", "resolution": 224}, r"resolution 224 is not among \[16\]"),
        ({"space": "efficientnet-b0", "resolution": 16, "width": 0.0}, "scaled_from.width"),
    ],
)
def test_a_space_that_cannot_be_scaled_is_refused(scaled_from: dict[str, object], part: str) -> None:
    document = {"schema_version": 1, "name": "mine", "resolutions": [16], "scaled_from": scaled_from}
    with pytest.raises(SpaceError, match=part):
        space_from_dict(document, "mine.toml")


def test_ratios_may_be_fractions_with_one_spelling() -> None:
    assert str(Op.parse("k3e2.5")) == "k3e2.5"
    assert Op.parse("k3e6") == Op(3, 6.0)
    assert (str(Op(3, 6.0)), hash(Op(3, 6.0))) == ("k3e6", hash(Op(3, 6)))
    assert Op(3, 2) < Op(3, 2.3) < Op(3, 2.5) < Op(5, 2)
    for text in ("k3e2.0", "k3e2.50", "k3e02.5", "k3e0.5", "k3e2.", "k3e1e2", "k3einf"):
        with pytest.raises(ArchitectureError):
            Op.parse(text)


def test_an_op_may_have_squeeze_and_excitation_of_its_own() -> None:
    document = {
        "schema_version": 1,
        "name": "mine",
        "classes": 4,
        "resolutions": [16],
        "stem": {"channels": 16},
        "head": {"channels": 8},
        "stages": [{**STAGE, "kernels": [3], "expands": [3, 6], "squeezes": [0, 0.25, 0.5]}],
    }
    space = space_from_dict(document, "mine.toml")
    assert [str(op) for op in space.stages[0].slots[0]] == [
        *("k3e3", "k3e3s0.25", "k3e3s0.5"),
        *("k3e6", "k3e6s0.25", "k3e6s0.5"),
    ]
    arch = Architecture.parse("r16_w8-k3e6s0.25")
    assert arch in list(space.enumerate()) and str(arch) == "r16_w8-k3e6s0.25"
    assert [space.blocks(a)[1].se_channels for a in space.enumerate()] == [0, 16, 24, 0, 24, 48]
    assert Op.parse("k3e6s1") == Op(3, 6, 1.0) != Op(3, 6)
    for text in ("k3e6s0", "k3e6s1.0", "k3e6s0.50", "k3e6s.5", "k3e6s1.5", "skips0.5"):
        with pytest.raises(ArchitectureError):
            Op.parse(text)


def test_an_unknown_space_names_the_presets() -> None:
    with pytest.raises(SpaceError, match="did you mean quickstart"):
        load_space("quikstart")


def test_the_documented_example_is_a_space() -> None:
    space = load_space(EXAMPLE)
    assert space.name not in PRESETS
    assert space.size == 2 * (9 + 81 + 729) ** 3 * 2
    assert isinstance(space.blocks(space.max())[0], Block)


def test_widths_are_sorted_and_depths_fit() -> None:
    with pytest.raises(SpaceError, match="sorted"):
        Stage((16, 8), (1,), ((Op(3, 1),),), 1, "relu")
    with pytest.raises(SpaceError, match="2 layers"):
        Stage((8,), (2,), ((Op(3, 1),),), 1, "relu")
    with pytest.raises(SpaceError, match="only the first layer"):
        Stage((8,), (2,), ((Op(3, 1),), (SKIP,)), 1, "relu")


def test_equal_networks_are_equal_however_spelled() -> None:
    one = Architecture(16, (StageChoice(24, (Op(3, 2),)),))
    assert one == Architecture.parse(" r16_w24-k3e2\n")
    assert len({one, Architecture.parse("r16_w24-k3e2")}) == 1
