"""Sizes, parameters and multiply-accumulates that others published, to the last digit."""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from latency_tables.blocks import total_macs, total_params
from pipeline.spaces.architecture import SKIP, Architecture, Op, StageChoice
from pipeline.spaces.files import load_space, preset_names, space_from_dict
from pipeline.spaces.scaling import Scaling, scaled
from tests.spaces.published_networks import PublishedError, read_published

# Parameters as published; millions of multiply-accumulates at the published resolution, convolutions and linear
# layers alone, as torchvision counts them.
PUBLISHED = {
    "efficientnet-b0": (5_288_548, 386, 224),
    "efficientnet-b1": (7_794_184, 687, 240),
    "efficientnet-b2": (9_109_994, 994, 260),
    "efficientnet-b3": (12_233_232, 1_827, 300),
    "efficientnet-lite0": (4_652_008, 385, 224),
    "efficientnet-lite1": (5_416_680, 600, 240),
    "efficientnet-lite2": (6_092_072, 860, 260),
    "efficientnet-lite3": (8_197_096, 1_383, 280),
    "efficientnet-lite4": (13_006_568, 2_553, 300),
    "mobilenet-v2": (3_504_872, 301, 224),
    "mobilenet-v3-large": (5_483_032, 217, 224),
    "mobilenet-v3-small": (2_542_856, 57, 224),
}
_MACRO_OPS = {"0": SKIP, "1": Op(3, 3), "2": Op(5, 6)}


def test_presets_are_the_documented_ones() -> None:
    others = ("nas-bench-macro", "ofa-mbv3-1.0", "ofa-mbv3-1.2", "quickstart")
    assert preset_names() == (*sorted(PUBLISHED), *others)


@pytest.mark.parametrize("name", ["ofa-mbv3-1.0", "ofa-mbv3-1.2"])
def test_size_of_once_for_all(name: str) -> None:
    space = load_space(name)
    assert space.with_resolutions((224,)).size == 7371**5 == 21_758_655_492_572_485_851
    assert space.size == 7371**5 * len(space.resolutions)


@pytest.mark.parametrize(
    ("name", "largest_params", "smallest_params", "millions"),
    [
        ("ofa-mbv3-1.0", 7_664_760, 3_410_792, {224: (566.2, 121.3), 160: (291.3, 63.2), 64: (50.8, 12.5)}),
        ("ofa-mbv3-1.2", 10_701_632, 4_602_456, {224: (843.1, 193.1), 160: (433.6, 100.3), 64: (75.2, 19.2)}),
    ],
)
def test_extremes_of_once_for_all(
    name: str, largest_params: int, smallest_params: int, millions: dict[int, tuple[float, float]]
) -> None:
    for resolution, (most, least) in millions.items():
        space = load_space(name).with_resolutions((resolution,))
        largest, smallest = space.blocks(space.max()), space.blocks(space.min())
        assert total_params(largest) == largest_params
        assert total_params(smallest) == smallest_params
        assert round(total_macs(largest) / 1e6, 1) == most
        assert round(total_macs(smallest) / 1e6, 1) == least


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_is_the_base_of_its_space(name: str) -> None:
    params, millions, resolution = PUBLISHED[name]
    space = load_space(name)
    assert space.base is not None
    blocks = space.blocks(space.base)
    assert (total_params(blocks), space.base.resolution) == (params, resolution)
    assert round(total_macs(blocks) / 1e6) == millions


@pytest.mark.parametrize("name", sorted({*PUBLISHED} - {f"efficientnet-b{n}" for n in range(4)}))
def test_a_published_network_is_the_largest_of_its_space(name: str) -> None:
    space = load_space(name)
    assert space.base is not None
    assert space.base.stages == space.max().stages
    assert {64, 96, 128, 224} <= {*space.resolutions}
    small = space.blocks(replace(space.base, resolution=64))
    assert total_params(small) == total_params(space.blocks(space.base))


@pytest.mark.parametrize(
    ("name", "width", "depth", "resolution", "params", "millions"),
    [
        ("b4", 1.4, 1.8, 380, 19_341_616, 4_394),
        ("b5", 1.6, 2.2, 456, 30_389_784, 10_266),
        ("b6", 1.8, 2.6, 528, 43_040_704, 19_068),
        ("b7", 2.0, 3.1, 600, 66_347_960, 37_746),
    ],
)
def test_compound_scaling_gives_the_larger_efficientnets(
    name: str, width: float, depth: float, resolution: int, params: int, millions: int
) -> None:
    document = {
        "schema_version": 1,
        "name": name,
        "resolutions": [224, resolution],
        "scaled_from": {"space": "efficientnet-b0", "width": width, "depth": depth, "resolution": resolution},
    }
    space = space_from_dict(document, "a test")
    assert space.base is not None
    assert total_params(space.blocks(space.base)) == params
    assert round(total_macs(space.blocks(space.base)) / 1e6) == millions
    assert space.max().stages != space.base.stages  # its choices grew with it


def test_scaling_by_one_changes_nothing() -> None:
    space = load_space("efficientnet-b0")
    assert scaled(space, space.name, Scaling(224), space.resolutions) == space


def test_padding_and_epsilon_are_those_that_weights_were_published_with() -> None:
    numerics = {name: (load_space(name).padding, load_space(name).batchnorm_eps) for name in PUBLISHED}
    assert numerics["efficientnet-lite0"] == numerics["efficientnet-lite4"] == ("same", 1e-3)
    assert numerics["mobilenet-v3-large"] == ("symmetric", 1e-3)
    assert numerics["mobilenet-v2"] == numerics["efficientnet-b0"] == ("symmetric", 1e-5)


def test_efficientnet_b0_for_ten_classes_loses_only_classifier_rows() -> None:
    space = load_space("efficientnet-b0").with_classes(10)
    assert space.base is not None
    assert total_params(space.blocks(space.base)) == 5_288_548 - 990 * 1281


def test_nas_bench_macro_has_3969_networks() -> None:
    space = load_space("nas-bench-macro")
    assert space.size == 3_969
    assert len(set(space.enumerate())) == 3_969


def _macro_rows(shared_data: Path) -> Iterator[dict[str, str]]:
    with gzip.open(shared_data / "nas_bench_macro_cifar10.csv.gz", "rt") as stream:
        yield from csv.DictReader(stream)


def test_nas_bench_macro_costs_equal_the_published_ones(shared_data: Path) -> None:
    space = load_space("nas-bench-macro")
    seen: set[Architecture] = set()
    rows = 0
    for row in _macro_rows(shared_data):
        digits, stages = row["arch"], []
        for stage, part in zip(space.stages, (digits[:2], digits[2:5], digits[5:]), strict=True):
            kept = (part[0], *(digit for digit in part[1:] if digit != "0"))
            stages.append(StageChoice(stage.widths[0], tuple(_MACRO_OPS[digit] for digit in kept)))
        arch = Architecture(32, tuple(stages))
        blocks = space.blocks(arch)
        assert (total_macs(blocks), total_params(blocks)) == (int(row["macs"]), int(row["params"])), digits
        seen.add(arch)
        rows += 1
    assert (rows, len(seen)) == (6_561, 3_969)


def test_published_networks_build_with_the_published_flops(shared_data: Path) -> None:
    networks = read_published(shared_data / "ofa_specialized_nets.json")
    assert len(networks) == 50
    for network in networks:
        blocks = network.lower()
        assert blocks[-1].out_channels == 1000
        if network.metric == "MFLOPs":
            assert network.value is not None
            assert total_macs(blocks) // 1_000_000 == int(network.value)
    assert sum(network.metric == "MFLOPs" for network in networks) == 3


def test_proxylessnas_networks_build(shared_data: Path) -> None:
    networks = {network.name: network for network in read_published(shared_data / "proxylessnas_nets.json")}
    assert total_params(networks["proxyless_mobile"].lower()) == 4_080_512
    assert round(total_macs(networks["proxyless_mobile"].lower()) / 1e6, 1) == 320.4
    assert networks["proxyless_mobile"].lower(160)[0].in_size == 160


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[", "cannot be read as JSON"),
        ('[{"name": "a"}]', "entry 0"),
    ],
)
def test_wrong_published_file_is_named(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "nets.json"
    path.write_text(text)
    with pytest.raises(PublishedError, match=part):
        read_published(path)


def test_published_layers_that_do_not_chain_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nets.json"
    path.write_text(
        '[{"name": "a", "family": "ProxylessNASNets", "input_size": 32, "stem_out": 8, "feature_mix": 16, "blocks":'
        ' [{"c_in": 9, "c_out": 8, "k": 3, "stride": 1, "expand": 1, "skip": false}]}]'
    )
    with pytest.raises(PublishedError, match="9 channels after 8"):
        read_published(path)[0].lower()
