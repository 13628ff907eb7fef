"""Files that ONNX Runtime optimised or quantised count as the network that they were made of."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latency_tables.blocks import total_macs
from pipeline.modelfiles.read import ReadOptions, read_model
from tests.gate.conftest import TINY

MACS = total_macs(TINY)


def optimised(level: str) -> Callable[[Path, Path], None]:
    def make(source: Path, target: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])

    return make


def quantised(form: str) -> Callable[[Path, Path], None]:
    def make(source: Path, target: Path) -> None:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

        class Images(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                name = onnx.load(source).graph.input[0].name
                self.images: Iterator[dict[str, object]] = iter([{name: np.zeros((1, 3, 16, 16), np.float32)}])

            def get_next(self) -> dict[str, object] | None:
                return next(self.images, None)

        quantize_static(str(source), str(target), Images(), quant_format=QuantFormat[form])

    return make


def dynamic(source: Path, target: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(source), str(target))


@pytest.mark.parametrize(
    "make",
    [optimised("BASIC"), optimised("EXTENDED"), quantised("QOperator"), quantised("QDQ"), dynamic],
    ids=["basic", "extended", "qoperator", "qdq", "dynamic"],
)
def test_a_file_of_the_runtime_is_the_network_that_it_was(
    tiny: Path, tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    target = tmp_path / "made.onnx"
    make(tiny, target)
    facts = read_model(target)
    assert (facts.macs, facts.uncounted) == (MACS, {})
    assert facts.params == 2950


def test_quantised_and_then_optimised(tiny: Path, tmp_path: Path) -> None:
    """QDQ pairs become QLinear operators of com.microsoft."""
    quantised("QDQ")(tiny, tmp_path / "qdq.onnx")
    optimised("EXTENDED")(tmp_path / "qdq.onnx", tmp_path / "both.onnx")
    facts = read_model(tmp_path / "both.onnx")
    assert (facts.macs, facts.uncounted) == (MACS, {})
    domains = {node.domain for node in onnx.load(tmp_path / "both.onnx").graph.node}
    assert "com.microsoft" in domains


def _saved(path: Path, nodes: list[onnx.NodeProto], inputs: dict[str, list[int]], **weights: np.ndarray) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_empty_tensor_value_info(nodes[-1].output[0])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())
    return path


def microsoft(operator: str, inputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, ["y"], domain="com.microsoft", **attributes)


@pytest.mark.parametrize(
    ("node", "inputs", "weights", "macs", "params"),
    [
        # (5, 64) by (64, 32), two numbers of four bits in each byte
        (
            microsoft("MatMulNBits", ["x", "w", "s"], K=64, N=32, bits=4, block_size=32),
            {"x": [1, 5, 64]}, {"w": np.zeros((32, 2, 16), np.uint8), "s": np.ones(64, np.float32)}, 5 * 64 * 32, 2048,
        ),
        # 3 steps of 2 features, 4 hidden; weights of (directions, features, rows)
        (
            microsoft("DynamicQuantizeLSTM", ["x", "w", "r"], hidden_size=4),
            {"x": [3, 1, 2]}, {"w": np.zeros((1, 2, 16), np.int8), "r": np.zeros((1, 4, 16), np.int8)},
            3 * 16 * (2 + 4), 96,
        ),
        (microsoft("FusedMatMul", ["x", "w"], transA=1, transB=1), {"x": [8, 4]}, {"w": np.zeros((6, 8), np.float32)},
         4 * 8 * 6, 48),
        (microsoft("FusedGemm", ["x", "w"], activation="Relu", transB=1), {"x": [1, 8]},
         {"w": np.zeros((6, 8), np.float32)}, 48, 48),
        # queries, keys and values of 12 each from 12; 5 x 5 products of 12, twice
        (microsoft("Attention", ["x", "w"], num_heads=3), {"x": [1, 5, 12]}, {"w": np.zeros((12, 36), np.float32)},
         5 * 12 * 36 + 2 * 25 * 12, 432),
    ],
    ids=["MatMulNBits", "DynamicQuantizeLSTM", "FusedMatMul", "FusedGemm", "Attention"],
)  # fmt: skip
def test_operators_of_the_runtime(tmp_path: Path, node, inputs, weights, macs, params) -> None:  # type: ignore[no-untyped-def]
    facts = read_model(_saved(tmp_path / "m.onnx", [node], inputs, **weights))
    assert (facts.macs, facts.params, facts.uncounted) == (macs, params, {})


def test_shapes_behind_an_operator_of_the_runtime_are_known(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("SkipLayerNormalization", ["x", "x", "g"], ["a", "", "", "sum"], domain="com.microsoft"),
        helper.make_node("MatMul", ["sum", "w"], ["y"]),
    ]
    weights = {"g": np.ones(8, np.float32), "w": np.zeros((8, 6), np.float32)}
    assert read_model(_saved(tmp_path / "m.onnx", nodes, {"x": [1, 5, 8]}, **weights)).macs == 5 * 8 * 6


def test_what_the_file_says_of_inner_tensors_is_used_where_nothing_else_tells(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Strange", ["x"], ["a"], domain="my.own"),
        helper.make_node("Conv", ["a", "w"], ["y"]),
    ]
    path = _saved(tmp_path / "m.onnx", nodes, {"x": [1, 3, 4, 4]}, w=np.zeros((2, 3, 1, 1), np.float32))
    model = onnx.load(path)
    model.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 3, 8, 8]))
    onnx.save(model, path)
    options = ReadOptions(ignore_operators=("my.own.Strange",))
    assert read_model(path, options).macs == 64 * 6


def _computed(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Half of the size of `x`, as exporters write it: Shape, Slice, Cast, Mul, Floor, Cast, then `nodes`."""
    return [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Slice", ["shape", "two", "four"], ["sizes"]),
        helper.make_node("Cast", ["sizes"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "half"], ["halves"]),
        helper.make_node("Floor", ["halves"], ["floored"]),
        helper.make_node("Cast", ["floored"], ["whole"], to=TensorProto.INT64),
        *nodes,
    ]


@pytest.mark.parametrize(
    ("nodes", "pixels"),
    [
        ([helper.make_node("Concat", ["front", "whole"], ["target"], axis=0),
          helper.make_node("Resize", ["x", "", "", "target"], ["a"], mode="nearest"),
          helper.make_node("Conv", ["a", "w"], ["y"])], 4 * 4),
        ([helper.make_node("Concat", ["nothing", "whole", "nothing", "whole"], ["pads"], axis=0),
          helper.make_node("Pad", ["x", "pads"], ["a"]),
          helper.make_node("Conv", ["a", "w"], ["y"])], 17 * 17),
    ],
    ids=["resize", "pad"],
)  # fmt: skip
def test_sizes_that_the_graph_computes_are_followed(tmp_path: Path, nodes: list[onnx.NodeProto], pixels: int) -> None:
    weights = {
        "w": np.zeros((2, 3, 1, 1), np.float32), "two": np.array([2]), "four": np.array([4]), "half": np.float32(0.5),
        "front": np.array([1, 3]), "nothing": np.array([0, 0]),
    }  # fmt: skip
    made = {name: np.asarray(array) for name, array in weights.items()}
    path = _saved(tmp_path / "m.onnx", _computed(nodes), {"x": [1, 3, 9, 9]}, **made)
    assert read_model(path).macs == pixels * 6


def _loop(trips: str, condition: str) -> list[onnx.NodeProto]:
    body = helper.make_graph(
        [helper.make_node("MatMul", ["a", "w"], ["b"]), helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("c", 9, []),
         helper.make_tensor_value_info("a", 1, None)],
        [helper.make_tensor_value_info("d", 9, []), helper.make_tensor_value_info("b", 1, None)],
    )  # fmt: skip
    return [helper.make_node("Loop", [trips, condition, "x"], ["y"], body=body)]


@pytest.mark.parametrize(
    ("trips", "condition", "macs", "uncounted"),
    [("five", "", 5 * 2 * 36, {}), ("five", "yes", 5 * 2 * 36, {}), ("", "yes", 0, {"Loop": 1})],
)
def test_loops_count_as_often_as_they_run(
    tmp_path: Path, trips: str, condition: str, macs: int, uncounted: dict[str, int]
) -> None:
    weights = {"w": np.zeros((6, 6), np.float32), "five": np.array(5), "yes": np.array(True)}
    made = {name: np.asarray(array) for name, array in weights.items()}
    facts = read_model(_saved(tmp_path / "m.onnx", _loop(trips, condition), {"x": [2, 6]}, **made))
    assert (facts.macs, facts.uncounted) == (macs, uncounted)
