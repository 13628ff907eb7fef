"""Blocks found again in graphs: exactly in ours, by share of MACs in others."""

import io
import random
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from latency_tables.blocks import Activation, Block, total_macs, total_params
from latency_tables.onnx_models import build_model
from pipeline.modelfiles.cost import graph_cost
from pipeline.modelfiles.onnx_cost import ONNX_RULES
from pipeline.modelfiles.onnx_graph import read_graph
from pipeline.modelfiles.read import read_model
from pipeline.modelfiles.recognise import Recognised, recognise
from pipeline.spaces.files import load_space
from tests.gate.conftest import FILES, TINY
from tests.spaces.families import FAMILIES


def found_in(model: onnx.ModelProto) -> Recognised:
    graph = read_graph(model)
    return recognise(graph, graph_cost(graph, ONNX_RULES).macs)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_preset_space_is_recognised_exactly(name: str) -> None:
    space, rng = load_space(name).with_resolutions([64]), random.Random(name)
    for arch in (space.min(), space.sample(rng), space.sample(rng)):
        blocks = space.blocks(arch)
        found = found_in(onnx.load_from_string(build_model(blocks)))
        assert found.blocks == blocks
        assert (found.exact, found.share, found.leftover, found.precision) == (True, 1.0, (), "fp32")


@st.composite
def networks(draw: st.DrawFn) -> tuple[Block, ...]:
    """Any chain of blocks, not only those of a space."""
    size, channels, blocks = draw(st.sampled_from([8, 9, 16])), 3, []
    acts: tuple[Activation, ...] = ("relu", "relu6", "hswish", "silu")
    act, kernels = st.sampled_from(acts), st.sampled_from([1, 3])
    for _ in range(draw(st.integers(1, 5))):
        out, stride = draw(st.sampled_from([channels, 8, 12])), draw(st.sampled_from([1, 2]))
        if draw(st.booleans()):
            blocks.append(Block("conv", size, channels, out, draw(kernels), stride, activation=draw(act)))
        else:
            mid, squeezed = draw(st.sampled_from([channels, 2 * channels])), draw(st.sampled_from([0, 4]))
            kernel, residual = draw(st.sampled_from([3, 5])), stride == 1 and out == channels and draw(st.booleans())
            blocks.append(Block("mbconv", size, channels, out, kernel, stride, mid, squeezed, draw(act), residual))
        size, channels = blocks[-1].out_size, blocks[-1].out_channels
    return (*blocks, Block("pool", size, channels, channels), Block("linear", 1, channels, 10))


@settings(max_examples=60, deadline=None)
@given(networks())
def test_any_chain_of_blocks_costs_what_its_blocks_cost(blocks: tuple[Block, ...]) -> None:
    found = found_in(onnx.load_from_string(build_model(blocks)))
    assert total_macs(found.blocks) == total_macs(blocks)
    # A 1x1 convolution before an mbconv that does not expand can be read as its expansion: the same computation.
    readable = all(
        not (a.kind == "conv" and a.kernel == a.stride == 1 and b.kind == "mbconv" and not b.expands)
        for a, b in pairwise(blocks)
    )
    if readable:
        assert found.blocks == blocks and found.exact


@pytest.mark.parametrize("opset", [13, 17])
def test_the_export_of_a_trained_network_is_recognised_exactly(opset: int) -> None:
    torch = pytest.importorskip("torch")
    from pipeline.supernets.network import Network

    network = Network(TINY).eval()
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.dtype == torch.float32:  # biases of exactly 0 would be left out of the file
            tensor.data = tensor.data + 0.1 * torch.rand_like(tensor)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 3, 16, 16),), buffer, dynamo=False, opset_version=opset)
    found = found_in(onnx.load_from_string(buffer.getvalue()))
    assert found.blocks == TINY
    assert found.exact and found.leftover == ()


def test_the_newer_exporter_writes_the_same_blocks_differently() -> None:
    found = found_in(onnx.load(FILES / "tiny-dynamo.onnx"))
    assert found.blocks == TINY
    assert found.exact and found.leftover == ()


SAME = Block("conv", 8, 3, 4, 3, 2, padding="same")


@pytest.mark.parametrize(
    ("pads", "mode", "before", "found"),
    [
        ([0, 0, 1, 1], "NOTSET", None, SAME),
        (None, "SAME_UPPER", None, SAME),
        ([0, 0, 0, 0], "NOTSET", [0, 0, 0, 0, 0, 0, 1, 1], SAME),
        ([1, 1, 1, 1], "NOTSET", None, replace(SAME, padding="symmetric")),
        ([1, 1, 0, 0], "NOTSET", None, replace(SAME, padding="symmetric")),  # the last row is never reached
        (None, "SAME_LOWER", None, replace(SAME, padding="symmetric")),
        ([0, 1, 1, 0], "NOTSET", None, None),
    ],
)
def test_padding_is_recognised_however_it_is_written(
    pads: list[int] | None, mode: str, before: list[int] | None, found: Block | None
) -> None:
    weights = [
        helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 3, 3], [0.1] * 108),
        helper.make_tensor("b", TensorProto.FLOAT, [4], [0.0] * 4),
    ]
    nodes = []
    if before is not None:
        weights.append(helper.make_tensor("zeros", TensorProto.INT64, [8], before))
        nodes.append(helper.make_node("Pad", ["x", "zeros"], ["padded"]))
    around = {"auto_pad": mode} if pads is None else {"pads": pads}
    source = "x" if before is None else "padded"
    nodes.append(helper.make_node("Conv", [source, "w", "b"], ["y"], strides=[2, 2], **around))
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 4, 4])
    graph = helper.make_graph(nodes, "g", [image], [result], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert found_in(model).blocks == (() if found is None else (found,))


def test_parameters_are_those_in_the_file_and_as_trained_those_of_a_search(tiny: Path) -> None:
    """In the file BatchNorm is folded into one bias per channel."""
    facts = read_model(tiny)
    assert (facts.params, facts.trained_params) == (2950, total_params(TINY))


def test_a_foreign_branch_lowers_the_share_and_is_named() -> None:
    model = onnx.load_from_string(build_model(TINY[:2]))
    weight = helper.make_tensor("w", TensorProto.FLOAT, [8, 8, 1, 3], [0.0] * 192)
    model.graph.initializer.append(weight)
    model.graph.node.append(helper.make_node("Conv", ["output", "w"], ["wide"], pads=[0, 1, 0, 1]))
    model.graph.node.append(helper.make_node("Concat", ["output", "wide"], ["both"], axis=1))
    model.graph.output[0].name = "both"
    found = found_in(model)
    assert found.blocks == TINY[:2]
    assert not found.exact
    assert found.share == pytest.approx(total_macs(TINY[:2]) / (total_macs(TINY[:2]) + 64 * 192))
    assert found.leftover == (("Concat", 1), ("Conv", 1))


def test_two_networks_side_by_side_are_not_one() -> None:
    """All MACs are in blocks, but the blocks do not follow one another."""
    one = onnx.load_from_string(build_model((Block("conv", 8, 3, 8, 3), Block("conv", 8, 8, 4, 3))))
    merged = onnx.compose.merge_graphs(
        onnx.compose.add_prefix_graph(one.graph, "a_"), onnx.compose.add_prefix_graph(one.graph, "b_"), []
    )
    found = found_in(helper.make_model(merged, opset_imports=one.opset_import, ir_version=8))
    assert found.share == 1.0
    assert not found.exact


def test_a_softmax_behind_the_network_is_left_over_but_costs_nothing() -> None:
    model = onnx.load_from_string(build_model(TINY))
    model.graph.node.append(helper.make_node("Softmax", ["output"], ["shares"]))
    model.graph.output[0].name = "shares"
    found = found_in(model)
    assert found.exact and found.leftover == (("Softmax", 1),)


def test_precision_is_read_from_the_graph(tiny: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = found_in(convert_float_to_float16(onnx.load(tiny), keep_io_types=True))
    assert (half.precision, half.blocks) == ("fp16", TINY)
