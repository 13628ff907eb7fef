"""When a difference is one: absolute for small outputs, relative to the network's outputs for large ones."""

import numpy as np
import pytest

from exporters import THRESHOLDS
from exporters.parity import compare
from exporters.request import Precision

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
        (0.0, 0.007, "fp16", "passed"),  # outputs range over 2: four steps of fp16 are 0.0078
        (0.0, 0.009, "fp16", "failed"),
        (0.0, 0.007, "int8", "failed"),  # where other classes are counted as such
        (100.0, 0.009, "fp16", "failed"),  # large outputs that are all alike are no excuse
    ],
)
def test_two_classes_that_fp16_cannot_tell_apart_are_a_tie(
    offset: float, gap: float, precision: Precision, status: str
) -> None:
    expected = np.tile(np.linspace(-1, 1, 10), (200, 1)) + offset
    expected[:, 8] = expected[:, 9] - gap
    actual = expected.copy()
    actual[:20, [8, 9]] = expected[:20, [9, 8]]
    parity = compare(expected, actual, None, None, THRESHOLDS[precision], "")
    assert parity.status == status, parity.reason
    assert parity.top1_agreement == 0.9
    assert ("20 of 200 images get another class" in parity.reason) == (status == "passed")
