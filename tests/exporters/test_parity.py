"""When a difference is one: absolute for small outputs, relative to the network's outputs for large ones."""

import numpy as np
import pytest

from exporters import THRESHOLDS
from exporters.parity import compare

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
