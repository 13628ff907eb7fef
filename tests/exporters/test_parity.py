"""When a difference is one: absolute for small outputs, relative to the network's outputs for large ones."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from exporters import EXPORTERS, THRESHOLDS, ExportOptions, Metadata, export_all, manifest, verify
from exporters.parity import compare
from exporters.request import Precision
from tests.exporters.conftest import Trained

OUTPUTS = np.linspace(-1, 1, 2000, dtype=np.float32).reshape(200, 10)


@pytest.mark.parametrize(
    ("scale", "difference", "status"),
    [
        (0.01, 0.9e-4, "passed"),
        (0.01, 1.1e-4, "failed"),
        (10, 0.9e-4, "passed"),
        (10, 1.2e-4, "failed"),
        (560, 9.16e-4, "passed"),  # a relative error of 1.6e-6
        (560, 6e-3, "failed"),
    ],
)
def test_differences_are_judged_by_the_outputs_scale(scale: float, difference: float, status: str) -> None:
    expected = OUTPUTS * scale
    actual = expected.astype(np.float64)
    actual[3, 2] -= difference
    parity = compare(expected, actual, None, None, THRESHOLDS["fp32"], "")
    assert parity.status == status, parity.reason
    if status == "failed":
        assert f"outputs reach {scale:.3g}" in parity.reason


def test_a_large_network_does_not_excuse_another_answer() -> None:
    actual = OUTPUTS * 1e6
    actual[0, 0] = actual[0].max() + 0.5  # far below a hundred-thousandth of the scale
    parity = compare(OUTPUTS * 1e6, actual, None, None, THRESHOLDS["fp32"], "")
    assert parity.status == "failed" and "top-1 agreement" in parity.reason


@pytest.mark.parametrize(
    ("offset", "gap", "precision", "status"),
    [
        (0.0, 0.005, "fp16", "passed"),  # outputs range over 2, and fp16 costs a thousandth of that: ties end at 0.0057
        (0.0, 0.007, "fp16", "failed"),
        (0.0, 0.005, "int8", "failed"),  # where other classes are counted as such
        (100.0, 0.007, "fp16", "failed"),  # large outputs that are all alike are no excuse
    ],
)
def test_two_classes_that_fp16_cannot_tell_apart_are_a_tie(
    offset: float, gap: float, precision: Precision, status: str
) -> None:
    expected = np.tile(np.linspace(-1, 1, 10), (200, 1)) + offset
    expected[:, 8] = expected[:, 9] - gap
    actual = expected.copy()
    actual[:20, [8, 9]] = expected[:20, [9, 8]]
    parity = compare(expected, actual, None, None, THRESHOLDS[precision].at_error(1e-3), "")
    assert parity.status == status, parity.reason
    assert parity.top1_agreement == 0.9
    assert ("20 of 200 images get another class" in parity.reason) == (status == "passed")


def no_channel(weight: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros_like(weight[:1]), weight[1:]])


def swapped(weight: np.ndarray) -> np.ndarray:
    return np.concatenate([weight[1:2], weight[:1], weight[2:]])


FAULTS: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
    "a channel is missing": (4, no_channel),
    "two channels are swapped": (4, swapped),
    "kernels are turned": (4, lambda weight: weight[:, :, ::-1, ::-1]),
    "no bias": (1, np.zeros_like),
    "10 % too large": (2, lambda weight: weight * np.float16(1.1)),
    "two classes are swapped": (2, swapped),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_no_fault_in_an_fp16_file_is_taken_for_rounding(
    fault: str, trained: Trained, fp16: Path, tmp_path: Path
) -> None:
    """One weight is changed at a time. The gates of this network are nearly constant: their weights matter to none of
    its answers, in fp32 either."""
    dims, change = FAULTS[fault]
    model, threshold = onnx.load(fp16 / "model-fp16.onnx"), manifest.read(fp16).threshold("fp16")
    assert threshold.max_rms_diff is not None and 2**-12 < threshold.max_rms_diff < 2**-6
    with torch.no_grad():
        expected = trained.network(torch.from_numpy(trained.samples.images)).numpy()
    tried = 0
    for index, tensor in enumerate(model.graph.initializer):
        weight = numpy_helper.to_array(tensor)
        changed = np.ascontiguousarray(change(weight)) if weight.ndim == dims and len(weight) > 2 else weight
        if "gate" in tensor.name or np.array_equal(changed, weight):
            continue
        broken = copy.deepcopy(model)
        broken.graph.initializer[index].CopyFrom(numpy_helper.from_array(changed, tensor.name))
        onnx.save(broken, tmp_path / "broken.onnx")
        (runtime,) = EXPORTERS["onnx-fp16"].open(tmp_path / "broken.onnx")
        outputs = runtime.run(trained.samples.images)
        parity = compare(expected, outputs, None, None, threshold, "")
        assert parity.status == "failed" and "in the mean square" in parity.reason, tensor.name
        tried += 1
    assert tried


@pytest.fixture(scope="module")
def fp16(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fp16")
    export_all(trained.network, trained.samples, ["onnx-fp16"], folder, Metadata(), ExportOptions(batch=None))
    return folder


def test_what_fp16_costs_stays_known_when_another_target_is_added(trained: Trained, fp16: Path) -> None:
    before = manifest.read(fp16).threshold("fp16")
    export_all(trained.network, trained.samples, ["onnx"], fp16, Metadata(), ExportOptions(batch=None))
    assert manifest.read(fp16).threshold("fp16") == before
    assert {report.format: report.parity.status for report in verify(fp16)} == {"onnx": "passed", "onnx-fp16": "passed"}


def test_a_network_that_fp16_cannot_hold_is_excused_nothing() -> None:
    threshold = THRESHOLDS["fp16"].at_error(float("inf"))
    assert (threshold.tie, threshold.max_rms_diff) == (0.0, None)
