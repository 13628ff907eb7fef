"""Networks that are not ours, end to end, in every target that this environment can write."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from exporters import (
    EXPORTERS,
    ExportOptions,
    ExportRequest,
    Metadata,
    RunFailed,
    Samples,
    WrongInput,
    export_all,
    verify,
)
from exporters.onnx.routes import from_program
from tests.exporters.conftest import Trained, available
from tests.exporters.networks import NETWORKS, Function, conv, head, made

# In the main environment the two formats that are written by two ways each; in those of the extras, theirs.
EXTRA = {
    "litert": ["litert"],
    "executorch": ["executorch"],
    "tensorrt": ["tensorrt", "tensorrt-fp16"],
    "coreai": ["coreai", "coreai-fp16"],
}
HERE = [target for tool, targets in EXTRA.items() if tool in EXPORTERS and available(tool) for target in targets]
TARGETS = HERE or ["onnx", "coreml", "pt2"]
# What a format refuses, and the words of its refusal; docs/export.md has the same table.
REFUSED: dict[tuple[str, str], str] = {
    # Off by no more than others, but 2 of 200 images that get another class are no tie.
    ("coreai-fp16", "one channel"): r"99\.00%, ties counted as agreement",
}


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("target", TARGETS)
def test_each_kind_of_network_in_each_target(name: str, target: str, tmp_path: Path) -> None:
    network, samples = made(name)
    told = REFUSED.get((target, name))
    if told is not None:
        with pytest.raises(ValueError, match=told):
            export_all(network, samples, [target], tmp_path, Metadata())
        return
    (report,) = export_all(network, samples, [target], tmp_path, Metadata())
    assert report.path is not None
    if report.parity.status == "not run":
        assert target.startswith("tensorrt") and "no NVIDIA GPU" in report.parity.reason
        return
    assert report.parity.status == "passed"
    assert report.parity.accuracy_after == pytest.approx(report.parity.accuracy_before, abs=0.011)


@pytest.mark.parametrize("target", [name for name in TARGETS if name not in ("litert", "executorch")])
def test_attention_over_any_number_of_images(target: str, tmp_path: Path) -> None:
    network, samples = made("multi-head attention")
    (report,) = export_all(network, samples, [target], tmp_path, Metadata(), ExportOptions(batch=None))
    assert report.parity.status == ("not run" if target.startswith("tensorrt") else "passed")


@pytest.mark.skipif(bool(HERE), reason="of the main environment")
def test_a_crash_of_the_runtime_is_that_targets_own_report(tmp_path: Path) -> None:
    """ONNX Runtime 1.31.1 ends by a segmentation fault where it loads this valid file on some processors."""
    network, samples = made("multi-head attention")
    try:
        export_all(network, samples, ["onnx-fp16", "onnx"], tmp_path, Metadata(), ExportOptions(batch=None))
        expected = ["passed", "passed"]
    except RunFailed as error:
        assert "the process that runs it ended with signal 11" in str(error)
        expected = ["failed", "passed"]
    assert [report.parity.status for report in verify(tmp_path)] == expected


def test_all_targets_of_one_network(tmp_path: Path) -> None:
    network, samples = made("residual, max pooling, view")
    # int8 is for trained networks: the contract's.
    targets = [name for name, kind in EXPORTERS.items() if available(name) and kind.precision != "int8"]
    targets = [name for name in targets if not name.startswith("tensorrt")]
    reports = export_all(network, samples, targets, tmp_path, Metadata(architecture="theirs"))
    assert {report.format: report.parity.status for report in reports} == dict.fromkeys(targets, "passed")
    assert all((report.parity.accuracy_after or 0) > 0.8 for report in reports)
    assert {report.parity.status for report in verify(tmp_path)} == {"passed"}


@pytest.mark.parametrize(
    ("name", "opset"),
    [
        ("channel shuffle", 13),
        ("channel shuffle", 20),
        ("gated halves", 13),
        ("bilinear resize in front", 16),
        ("reflection padding", 17),
        ("multi-head attention", 17),
    ],
)
def test_the_way_through_torch_export_keeps_the_opset(name: str, opset: int, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    model = from_program(_request(name, tmp_path, opset))
    assert [entry.version for entry in model.opset_import] == [opset]
    onnx.checker.check_model(model, full_check=True)
    _assert_equal(name, model, tmp_path)


def test_what_an_old_opset_lacks_is_told_with_the_one_that_has_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    with pytest.raises(ValueError, match="LayerNormalization needs opset 17"):
        from_program(_request("multi-head attention", tmp_path, 13))


def test_the_way_through_torch_export_serves_our_own_networks(trained: Trained, tmp_path: Path) -> None:
    """The other way will be gone one day."""
    pytest.importorskip("onnxscript")
    samples = Samples(trained.samples.images[:8])
    for batch in (1, None):
        options = ExportOptions(opset=13 if batch else 17, batch=batch)
        request = ExportRequest(copy.deepcopy(trained.network), samples, Metadata(), options, tmp_path)
        model = from_program(request)
        assert not {node.op_type for node in model.graph.node} & {"BatchNormalization", "Dropout", "Identity"}
        session = _session(model)
        images = samples.images if batch is None else samples.images[:1]
        with torch.no_grad():
            expected = trained.network(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(session.run(None, {"image": images})[0], expected, atol=1e-4)
        assert from_program(request).SerializeToString(deterministic=True) == model.SerializeToString(
            deterministic=True
        )


def _request(name: str, scratch: Path, opset: int) -> ExportRequest:
    network, samples = made(name)
    return ExportRequest(network, samples, Metadata(), ExportOptions(opset=opset), scratch)


def _session(model: onnx.ModelProto):  # type: ignore[no-untyped-def]
    import onnxruntime

    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def _assert_equal(name: str, model: onnx.ModelProto, folder: Path) -> None:
    network, samples = made(name)
    images = samples.images[:1]
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(_session(model).run(None, {"image": images})[0], expected, atol=2e-4)


def compiled() -> nn.Module:
    return torch.compile(nn.Sequential(conv(3, 16, 2), head(16)))  # type: ignore[return-value]


def scripted() -> nn.Module:
    module: nn.Module = torch.jit.script(nn.Sequential(conv(3, 16, 2), head(16)).eval())
    return module


def parallel() -> nn.Module:
    return nn.DataParallel(nn.Sequential(conv(3, 16, 2), head(16)))


def one_at_a_time() -> nn.Module:
    return nn.Sequential(conv(3, 16, 2), Function(lambda x: x.reshape(1, 1024)), nn.Linear(1024, 10))


@pytest.mark.parametrize(
    ("make", "targets"),
    [
        (compiled, ["onnx", "coreml"]),
        (parallel, ["onnx", "coreml"]),
        (one_at_a_time, ["onnx", "coreml"]),
        (scripted, ["onnx"]),  # torch.export takes no scripted modules
    ],
)
def test_networks_in_wrappers(make: Callable[[], nn.Module], targets: list[str], tmp_path: Path) -> None:
    torch.manual_seed(0)
    _, samples = made("one channel")
    samples = Samples(np.repeat(samples.images[:8], 3, axis=1))
    reports = export_all(make(), samples, targets, tmp_path, Metadata())
    assert {report.parity.status for report in reports} == {"passed"}


def test_a_network_without_weights_yet(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
    with pytest.raises(WrongInput, match="lazy layers without weights yet; call it once"):
        export_all(network, Samples(np.zeros((4, 3, 8, 8), np.float32)), ["onnx"], tmp_path, Metadata())


def test_a_baked_batch_size_and_any_batch(tmp_path: Path) -> None:
    samples = Samples(np.zeros((4, 3, 16, 16), np.float32))
    with pytest.raises(WrongInput, match="set batch to 1"):
        export_all(one_at_a_time(), samples, ["onnx"], tmp_path, Metadata(), ExportOptions(batch=None))
