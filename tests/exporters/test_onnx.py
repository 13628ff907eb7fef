"""ONNX files: what was asked for, nothing left over from training, int8 that is int8."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from exporters import EXPORTERS, ExportOptions, Metadata, Samples, WrongInput, export_all
from exporters.onnx.fold import folded
from exporters.onnx.run import OnnxRuntime
from exporters.onnx.write import problems
from tests.exporters.conftest import Exported, Trained


@pytest.mark.parametrize("opset", [13, 16, 20])
def test_opset_asked_is_opset_got(trained: Trained, tmp_path: Path, opset: int) -> None:
    (report,) = export_all(trained.network, trained.samples, ["onnx"], tmp_path, Metadata(), ExportOptions(opset=opset))
    assert report.parity.status == "passed"
    assert [entry.version for entry in onnx.load(tmp_path / "model.onnx").opset_import] == [opset]


@pytest.mark.parametrize("target", ["onnx", "onnx-fp16", "onnx-int8", "onnx-int8-tensorrt"])
def test_names_and_every_shape_are_known(exported: Exported, target: str) -> None:
    model = onnx.load(exported.folder / str(exported.reports[target].path))
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["image", "logits"]
    assert problems(model, 17, "logits") == []
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    known = {value.name for value in (*inferred.graph.value_info, *inferred.graph.output)}
    assert {name for node in inferred.graph.node for name in node.output} <= known


def test_batchnorm_and_dropout_are_gone(exported: Exported) -> None:
    kinds = {node.op_type for node in onnx.load(exported.folder / "model.onnx").graph.node}
    assert not kinds & {"BatchNormalization", "Dropout", "Identity", "Constant"}


def test_leftovers_are_told() -> None:
    nodes = [
        helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "", ""], "bn", training_mode=1),
        helper.make_node("Dropout", ["y"], ["z"], "drop"),
    ]
    weights = [helper.make_tensor(name, TensorProto.FLOAT, [1], [1.0]) for name in ("s", "b", "m", "v", "unused")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    found = "\n".join(problems(model, 17, "logits"))
    for part in ("opset 17 was asked, the file has [18]", "'image'", "'unused'", "'bn'", "'drop'"):
        assert part in found
    assert len(problems(model, 17, "logits")) == 5


def test_what_depends_on_weights_alone_is_computed_once() -> None:
    nodes = [
        helper.make_node("Constant", [], ["two"], value_floats=[2.0]),
        helper.make_node("Mul", ["w", "two"], ["scaled"]),
        helper.make_node("Softplus", ["scaled"], ["positive"]),
        helper.make_node("RandomNormalLike", ["w"], ["noise"]),
        helper.make_node("Mul", ["image", "positive"], ["y"]),
        helper.make_node("Add", ["y", "noise"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor("w", TensorProto.FLOAT, [2], [0.5, -1.0])],
    )
    model = folded(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert [node.op_type for node in model.graph.node] == ["RandomNormalLike", "Mul", "Add"]
    values = {entry.name: onnx.numpy_helper.to_array(entry) for entry in model.graph.initializer}
    assert values.keys() == {"w", "positive"}
    np.testing.assert_allclose(values["positive"], np.log1p(np.exp([1.0, -2.0])), rtol=1e-6)


def test_fp16_holds_fp16_weights_behind_fp32_inputs(exported: Exported) -> None:
    model = onnx.load(exported.folder / "model-fp16.onnx")
    types = {entry.data_type for entry in model.graph.initializer if entry.dims}
    assert TensorProto.FLOAT16 in types and TensorProto.FLOAT not in types
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert exported.reports["onnx-fp16"].size_bytes < 0.6 * exported.reports["onnx"].size_bytes


@pytest.mark.parametrize(
    ("target", "zero_point", "biases"),
    [("onnx-int8", TensorProto.UINT8, True), ("onnx-int8-tensorrt", TensorProto.INT8, False)],
)
def test_each_recipe_quantises_as_its_runtime_wants(
    exported: Exported, target: str, zero_point: int, biases: bool
) -> None:
    model = onnx.load(exported.folder / str(exported.reports[target].path))
    weights = {entry.name: entry for entry in model.graph.initializer}
    points = [weights[node.input[2]] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert {point.data_type for point in points} == {zero_point}
    if target == "onnx-int8-tensorrt":
        assert not any(np.any(onnx.numpy_helper.to_array(point)) for point in points)  # symmetric
    assert any(entry.data_type == TensorProto.INT32 for entry in weights.values()) == biases
    per_channel = [entry for entry in weights.values() if entry.data_type == TensorProto.INT8 and len(entry.dims) == 4]
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(per_channel) == len(convolutions) > 10


def test_int8_needs_calibration_images(trained: Trained, tmp_path: Path) -> None:
    samples = Samples(trained.samples.images, trained.samples.labels)
    with pytest.raises(WrongInput, match="calibration images from the training split"):
        export_all(trained.network, samples, ["onnx-int8"], tmp_path, Metadata())


def test_any_batch_size(trained: Trained, tmp_path: Path) -> None:
    targets = ["onnx", "onnx-fp16", "onnx-int8", "ort", "coreml"]
    reports = export_all(trained.network, trained.samples, targets, tmp_path, Metadata(), ExportOptions(batch=None))
    assert [report.parity.status for report in reports] == ["passed"] * 5
    images = trained.samples.images
    for report in reports:
        (runtime, *_) = EXPORTERS[report.format].open(tmp_path / str(report.path))
        np.testing.assert_allclose(runtime.run(images[:1]), runtime.run(images[:7])[:1], atol=0.05)


def test_a_fixed_batch_is_padded_at_the_end(trained: Trained, tmp_path: Path) -> None:
    (report,) = export_all(trained.network, trained.samples, ["onnx"], tmp_path, Metadata(), ExportOptions(batch=7))
    assert onnx.load(tmp_path / "model.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_value == 7
    assert report.parity.status == "passed" and report.parity.images == 360  # 360 = 51 * 7 + 3


def test_the_prediction_stands_beside_the_measurement(trained: Trained, tmp_path: Path) -> None:
    options = ExportOptions(predicted_ms=12.5)
    (report,) = export_all(trained.network, trained.samples, ["onnx"], tmp_path, Metadata(), options)
    assert report.predicted_ms == 12.5
    assert report.latency_ms is not None and 0 < report.latency_ms < 1000


def test_the_mobile_usability_report_is_in_the_notes(exported: Exported) -> None:
    notes = exported.reports["ort"].notes["mobile_usability"]
    for part in ("NNAPI", "CoreML MLProgram", "partitions", "HardSwish"):
        assert part in notes
    assert "/tmp" not in notes and str(exported.folder) not in notes


def test_a_file_of_other_shapes_is_refused(exported: Exported) -> None:
    runtime = OnnxRuntime(exported.folder / "model.onnx")
    with pytest.raises(WrongInput, match=r"takes images of shape \(3, 16, 16\), these are \(3, 8, 8\)"):
        runtime.run(np.zeros((1, 3, 8, 8), np.float32))


def test_the_network_that_was_given_is_not_changed(trained: Trained, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 10), nn.Dropout()).to(torch.float64).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_all(network, trained.samples, ["onnx"], tmp_path, Metadata())
    assert network.training and all(p.requires_grad and p.dtype == torch.float64 for p in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
