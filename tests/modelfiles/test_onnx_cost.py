"""MACs and parameters of ONNX graphs against arithmetic done by hand."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latency_tables.blocks import total_macs
from latency_tables.onnx_models import build_model
from pipeline.modelfiles.cost import GraphCost, graph_cost
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.onnx_cost import ONNX_RULES
from pipeline.modelfiles.onnx_graph import read_graph
from pipeline.modelfiles.read import ReadOptions, read_model
from tests.gate.conftest import TINY

Shape = list[int | str]


def model(nodes: list[onnx.NodeProto], inputs: dict[str, Shape], weights: dict[str, np.ndarray], opset: int = 17):  # type: ignore[no-untyped-def]
    """A model whose output is that of the last node."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_empty_tensor_value_info(nodes[-1].output[0])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    domains = {node.domain for node in nodes if node.domain}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def cost(*arguments, **keywords) -> GraphCost:  # type: ignore[no-untyped-def]
    return graph_cost(read_graph(model(*arguments, **keywords)), ONNX_RULES)


def ones(*shape: int, kind: type = np.float32) -> np.ndarray:
    return np.ones(shape, dtype=kind)


@pytest.mark.parametrize(
    ("node", "inputs", "weights", "macs", "params"),
    [
        # 4 outputs of 3 channels and a 3x3 kernel, on the 4x4 pixels that stride 2 leaves
        (
            helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1]),
            {"x": [1, 3, 8, 8]}, {"w": ones(4, 3, 3, 3), "b": ones(4)}, 16 * 4 * 27, 108 + 4,
        ),
        # depthwise: each channel its own 5x5 kernel
        (
            helper.make_node("Conv", ["x", "w"], ["y"], group=6, pads=[2, 2, 2, 2]),
            {"x": [1, 6, 8, 8]}, {"w": ones(6, 1, 5, 5)}, 64 * 6 * 25, 150,
        ),
        # one dimension
        (helper.make_node("Conv", ["x", "w"], ["y"]), {"x": [1, 2, 10]}, {"w": ones(5, 2, 3)}, 8 * 5 * 6, 30),
        # each of 16 pixels of 3 channels is spread over 2 x 2 x 5 values
        (
            helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
            {"x": [1, 3, 4, 4]}, {"w": ones(3, 5, 2, 2)}, 16 * 3 * 20, 60,
        ),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), {"x": [1, 7]}, {"w": ones(9, 7)}, 63, 63),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transA=1), {"x": [7, 2]}, {"w": ones(7, 9)}, 2 * 63, 63),
        # attention-like: no weights, all from activations
        (helper.make_node("MatMul", ["x", "z"], ["y"]), {"x": [1, 4, 5, 6], "z": [1, 4, 6, 7]}, {}, 4 * 5 * 7 * 6, 0),
        # 3 steps, 2 features, 4 hidden: four gates on both
        (
            helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=4),
            {"x": [3, 1, 2]}, {"w": ones(1, 16, 2), "r": ones(1, 16, 4)}, 3 * 16 * (2 + 4), 96,
        ),
        # statistics of a BatchNorm are not learned
        (
            helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"]),
            {"x": [1, 3, 4, 4]}, {name: ones(3) for name in "sbmv"}, 0, 6,
        ),
        # bounds and shapes are no weights, a slope is
        (helper.make_node("Clip", ["x", "l", "h"], ["y"]), {"x": [4]}, {"l": np.float32(0), "h": np.float32(6)}, 0, 0),
        (helper.make_node("Reshape", ["x", "s"], ["y"]), {"x": [4]}, {"s": np.array([2, 2])}, 0, 0),
        (helper.make_node("PRelu", ["x", "s"], ["y"]), {"x": [4]}, {"s": np.array(0.1, np.float32)}, 0, 1),
    ],
)  # fmt: skip
def test_operators(node, inputs, weights, macs, params) -> None:  # type: ignore[no-untyped-def]
    found = cost([node], inputs, {name: np.asarray(array) for name, array in weights.items()})
    assert (found.macs, found.params, found.unsupported) == (macs, params, {})


def test_unsupported_operators_are_counted_and_named() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("DFT", ["a"], ["b"]),
        helper.make_node("Strange", ["b"], ["c"], domain="my.own"),
        helper.make_node("Strange", ["c"], ["y"], domain="my.own"),
    ]
    found = cost(nodes, {"x": [1, 3, 4, 4]}, {"w": ones(2, 3, 1, 1)})
    assert found.macs == 16 * 6
    assert found.unsupported == {"DFT": 1, "my.own.Strange": 2}


def test_a_convolution_of_unknown_shape_is_not_free() -> None:
    nodes = [helper.make_node("Strange", ["x"], ["a"], domain="my.own"), helper.make_node("Conv", ["a", "w"], ["y"])]
    found = cost(nodes, {"x": [1, 3, 4, 4]}, {"w": ones(2, 3, 1, 1)})
    assert found.unsupported == {"Conv of unknown shape": 1, "my.own.Strange": 1}


def branching(then: list[onnx.NodeProto], otherwise: list[onnx.NodeProto]):  # type: ignore[no-untyped-def]
    """A model that runs one of two branches on `x`."""
    branches = [
        helper.make_graph(nodes, "branch", [], [helper.make_empty_tensor_value_info(nodes[-1].output[0])])
        for nodes in (then, otherwise)
    ]
    node = helper.make_node("If", ["c"], ["z"], then_branch=branches[0], else_branch=branches[1])
    return model([node], {"x": [1, 3, 4, 4], "c": []}, {"w": ones(2, 3, 1, 1), "v": ones(2, 3, 3, 3)})


def test_control_flow_hides_neither_multiplications_nor_weights() -> None:
    made = branching([helper.make_node("Conv", ["x", "w"], ["a"])], [helper.make_node("Conv", ["x", "v"], ["b"])])
    found = graph_cost(read_graph(made), ONNX_RULES)
    assert (found.macs, found.macs_most, found.unsupported) == (16 * 6, 4 * 54, {})
    assert found.params == 6 + 54
    made = branching([helper.make_node("Relu", ["x"], ["a"])], [helper.make_node("Identity", ["x"], ["b"])])
    assert graph_cost(read_graph(made), ONNX_RULES).unsupported == {}


@pytest.mark.parametrize("opset", [13, 17])
def test_a_shape_that_the_graph_computes_is_followed(opset: int) -> None:
    """x.flatten(2) as torch exports it: ONNX's own inference gives up on it below opset 15."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "two", "zero"], ["kept"]),
        helper.make_node("Concat", ["kept", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["flat"]),
        helper.make_node("Conv", ["flat", "w"], ["y"]),
    ]
    weights = {"w": ones(5, 3, 2), "zero": np.array([0]), "two": np.array([2]), "rest": np.array([-1])}
    found = cost(nodes, {"x": [1, 3, 4, 4]}, weights, opset=opset)
    assert (found.macs, found.params, found.unsupported) == (15 * 5 * 6, 30, {})


def test_quantised_weights_count_once_and_scales_do_not() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["y"]),
    ]
    weights = {"q": ones(3, 3, 1, 1, kind=np.int8), "s": ones(3), "z": ones(3, kind=np.int8)}
    found = cost(nodes, {"x": [1, 3, 4, 4]}, weights)
    assert (found.macs, found.params) == (2 * 16 * 9, 9)


def test_an_open_batch_is_one_and_other_open_sizes_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "open.onnx"
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    onnx.save(model(nodes, {"x": ["batch", 3, "h", "w_"]}, {"w": ones(2, 3, 1, 1)}), path)
    assert read_model(path).uncounted == {"Conv of unknown shape": 1}
    assert read_model(path, ReadOptions({"x": (1, 3, 5, 5)})).macs == 25 * 6
    with pytest.raises(ModelFileError, match="no input 'image'; its inputs are x"):
        read_model(path, ReadOptions({"image": (1, 3, 5, 5)}))


def test_shapes_written_for_another_batch_are_not_believed() -> None:
    made = model([helper.make_node("Conv", ["x", "w"], ["y"])], {"x": ["n", 3, 4, 4]}, {"w": ones(2, 3, 1, 1)})
    made.graph.value_info.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [8, 2, 4, 4]))
    assert graph_cost(read_graph(made), ONNX_RULES).macs == 16 * 6


def test_functions_are_looked_into() -> None:
    body = [helper.make_node("Conv", ["a", "b"], ["c"])]
    function = helper.make_function("mine", "Layer", ["a", "b"], ["c"], body, [helper.make_opsetid("", 17)])
    layer = helper.make_node("Layer", ["x", "w"], ["y"], domain="mine")
    made = model([layer], {"x": [1, 3, 4, 4]}, {"w": ones(2, 3, 1, 1)})
    made.functions.append(function)
    assert graph_cost(read_graph(made), ONNX_RULES).macs == 16 * 6


def test_weights_beside_the_model_belong_to_its_size(tmp_path: Path) -> None:
    whole = onnx.load_from_string(build_model(TINY))
    path = tmp_path / "split.onnx"
    onnx.save(whole, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    facts = read_model(path)
    assert facts.macs == total_macs(TINY)
    assert facts.size_bytes == path.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelFileError, match=r"weights\.bin is missing"):
        read_model(path)


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x07", bytes(100)])
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"bad\.onnx is no"):
        read_model(path)
