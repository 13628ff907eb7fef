"""Published tables: their known answers, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from latency_tables.blocks import Activation, Block, round_channels
from latency_tables.errors import TableError
from latency_tables.importers.registry import IMPORTERS, import_table
from latency_tables.store import load_table, save_table
from latency_tables.table import MissingRows

_ACTIVATIONS: dict[str, Activation] = {"relu": "relu", "relu6": "relu6", "h_swish": "hswish"}


def _note10(shared_data: Path, *resolutions: int) -> list[Path]:
    return [shared_data / "latency_luts" / f"ofa_note10_{resolution}.yaml" for resolution in resolutions]


def _published_net(shared_data: Path, name: str) -> tuple[Block, ...]:
    """The blocks of one of Once-for-All's released MobileNetV3 networks."""
    nets = json.loads((shared_data / "ofa_specialized_nets.json").read_text())
    net: dict[str, Any] = next(net for net in nets if net["name"].startswith(name))
    size = -(-net["input_size"] // 2)
    blocks = [Block("conv", net["input_size"], 3, net["stem_out"], 3, 2, activation="hswish")]
    for layer in net["blocks"]:
        mid = layer["mid"] or round_channels(layer["c_in"] * layer["expand"])
        squeeze = round_channels(mid // 4) if layer["se"] else 0
        activation = _ACTIVATIONS[layer["act"]]
        shape = (size, layer["c_in"], layer["c_out"], layer["k"], layer["stride"], mid)
        blocks.append(Block("mbconv", *shape, squeeze, activation, layer["skip"]))
        size = -(-size // layer["stride"])
    last, wide, mix = blocks[-1].out_channels, net["final_expand"], net["feature_mix"]
    head = (
        Block("conv", size, last, wide, activation="hswish"),
        Block("pool", size, wide, wide),
        Block("mix", 1, wide, mix, activation="hswish"),
        Block("linear", 1, mix, 1000),
    )
    return (*blocks, *head)


@pytest.mark.parametrize(
    ("resolution", "total_ms"), [(160, 115.2809), (176, 140.2715), (192, 163.2207), (208, 196.4591), (224, 223.8278)]
)
def test_sum_of_all_means_of_each_note10_file(shared_data: Path, resolution: int, total_ms: float) -> None:
    table, left_out = import_table(_note10(shared_data, resolution), "ofa", "note10")
    assert (len(table.rows), left_out) == (96, 0)
    assert sum(row.median_ms for row in table.rows.values()) == pytest.approx(total_ms, abs=5e-5)


def test_the_published_30_ms_network_costs_29_965_ms(shared_data: Path, tmp_path: Path) -> None:
    table, _ = import_table(_note10(shared_data, 160, 176, 192, 208, 224), "ofa", "note10")
    save_table(table, tmp_path / "note10.json")
    read = load_table(tmp_path / "note10.json")
    assert len(read.rows) == 450  # of 480 entries, 30 are blocks that a larger resolution has too
    prediction = read.predict(_published_net(shared_data, "note10_lat-30ms"))
    assert prediction.latency_ms == pytest.approx(29.965, abs=5e-4)
    assert prediction.low_ms is None
    assert read.upper_factor == 1.0


def test_networks_that_the_table_lacks_are_refused_with_every_missing_row(shared_data: Path) -> None:
    table, _ = import_table(_note10(shared_data, 224), "ofa", "note10")
    blocks = _published_net(shared_data, "note10_lat-22ms")  # a stem of 16 channels
    with pytest.raises(MissingRows) as caught:
        table.predict(blocks)
    assert caught.value.missing == table.missing(blocks)
    assert len(caught.value.missing) > 5
    assert all(block.key in str(caught.value) for block in caught.value.missing)
    with pytest.raises(MissingRows):
        table.block_ms(caught.value.missing[0])


def test_proxylessnas(shared_data: Path) -> None:
    table, left_out = import_table(
        [shared_data / "latency_luts" / "proxylessnas_mobile_trim.yaml"], "proxylessnas", "pixel1"
    )
    assert sum(row.median_ms for row in table.rows.values()) == pytest.approx(388.3048, abs=5e-5)
    assert (len(table.rows), left_out) == (73, 0)  # 72 entries, and the pool that the classifier contains
    blocks = [
        Block("conv", 224, 3, 32, 3, 2, activation="relu6"),
        Block("mbconv", 112, 32, 16, 3, 1, 32, 0, "relu6"),
    ]
    size, before = 112, 16
    for width, stride, depth in ((24, 2, 4), (40, 2, 4), (80, 2, 4), (96, 1, 4), (192, 2, 4), (320, 1, 1)):
        for layer in range(depth):
            step = stride if layer == 0 else 1
            blocks.append(Block("mbconv", size, before, width, 3, step, before * 6, 0, "relu6", layer > 0))
            size, before = -(-size // step), width
    blocks += [
        Block("conv", 7, 320, 1280, activation="relu6"),
        Block("pool", 7, 1280, 1280),
        Block("linear", 1, 1280, 1000),
    ]
    assert table.network_ms(blocks) == pytest.approx(136.466, abs=5e-4)


def test_fbnet(shared_data: Path) -> None:
    table, left_out = import_table([shared_data / "latency_luts" / "fbnet_cpu_us.txt"], "fbnet", "cpu")
    assert len(table.rows) == 12 * 6 + 6  # shapes x operators that are blocks, and the projections
    assert left_out == 22 * 2 + 16  # group convolutions and identities
    assert sum(row.samples for row in table.rows.values()) + left_out == 22 * 9
    first = Block("mbconv", 112, 16, 16, 3, 1, 96, 0, "relu", True)
    assert table.rows[first.key].median_ms == pytest.approx(8.468787, abs=1e-6)


@pytest.mark.parametrize("table_format", list(IMPORTERS))
@pytest.mark.parametrize(
    "text", ["", "hello\n", "Conv-input:3x3x3-output:2x2:\n  mean: 1\n", "a:\n  mean: -1\n", "\0\xff"]
)
def test_files_of_no_such_format_are_refused(tmp_path: Path, table_format: str, text: str) -> None:
    path = tmp_path / "published"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(TableError, match="published"):
        import_table([path], table_format, "phone")
    with pytest.raises(TableError, match="nowhere"):
        import_table([tmp_path / "nowhere"], table_format, "phone")


def test_unknown_format_and_files_of_two_devices(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="ofa, proxylessnas, fbnet"):
        import_table([tmp_path], "onnx", "phone")
    source = _note10(shared_data, 224)[0]
    other = tmp_path / "other.yaml"
    other.write_text(source.read_text().replace("mean: 0.994418", "mean: 1.994418"))
    with pytest.raises(TableError, match="one device"):
        import_table([source, other], "ofa", "phone")


OFA_ENTRY = "expanded_conv-input:56x56x24-output:28x28x40-expand:96-kernel:3-stride:2-idskip:0-se:1-hs:0"
PROXY_ENTRY = "expanded_conv-input:56x56x24-output:28x28x40-expand:6-kernel:3-stride:2-idskip:0"


@pytest.mark.parametrize(
    ("table_format", "text", "message"),
    [
        ("proxylessnas", f"{OFA_ENTRY}:\n  mean: 1\n", "is it --format ofa"),
        ("ofa", f"{PROXY_ENTRY}:\n  mean: 1\n", "is it --format proxylessnas"),
        ("ofa", f"{OFA_ENTRY}-dil:2:\n  mean: 1\n", "has the fields .*dil"),
        ("ofa", f"{OFA_ENTRY}-se:0:\n  mean: 1\n", "has a field twice"),
        ("ofa", f"{OFA_ENTRY}:\n  mean: 1\n{OFA_ENTRY}:\n  mean: 2\n", r"line 3: the entry .* stands there twice"),
        ("ofa", f"{OFA_ENTRY}:\n  mean: 1\n  mean: 2\n", r"line 3: 'mean' stands twice"),
        ("ofa", f"{OFA_ENTRY}:\n  mean: 0\n", "has a mean of 0"),
        ("ofa", f"{OFA_ENTRY.replace('stride:2', 'stride:1')}:\n  mean: 1\n", "stride of 1, which does not make 28"),
        ("ofa", f"{OFA_ENTRY.replace('stride:2', 'stride:0')}:\n  mean: 1\n", "stride of 0"),
        ("ofa", "Conv-input:224x224x3-output:0x0x24:\n  mean: 1\n", "is not an operator"),
        ("fbnet", "skip skip\n" + "1 2\n" * 22, "'skip' in two columns"),
    ],
)
def test_entries_that_would_be_read_wrongly_are_refused(
    tmp_path: Path, table_format: str, text: str, message: str
) -> None:
    path = tmp_path / "published.yaml"
    path.write_text(text)
    with pytest.raises(TableError, match=message):
        import_table([path], table_format, "phone")


def test_a_published_table_of_another_format_is_refused(shared_data: Path) -> None:
    with pytest.raises(TableError, match="is it --format ofa"):
        import_table(_note10(shared_data, 224), "proxylessnas", "note10")
    with pytest.raises(TableError, match="is it --format proxylessnas"):
        import_table([shared_data / "latency_luts" / "proxylessnas_mobile_trim.yaml"], "ofa", "pixel")


def test_a_table_needs_the_name_of_a_device(shared_data: Path) -> None:
    with pytest.raises(TableError, match="needs to say what it is of"):
        import_table(_note10(shared_data, 224), "ofa", " ")


def test_a_byte_order_mark_is_no_entry(shared_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "marked.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + _note10(shared_data, 224)[0].read_bytes())
    assert len(import_table([path], "ofa", "note10")[0].rows) == 96
