"""Does the written file compute what the network computes?"""

import numpy as np

from exporters.report import Parity
from exporters.request import Array, Threshold


def compare(
    expected: Array, actual: Array, labels: Array | None, accuracy_before: float | None, threshold: Threshold, by: str
) -> Parity:
    """Parity of a file's outputs (n, classes) with the network's on the same n images.

    Not a number anywhere in `actual` fails, whatever the thresholds.
    """
    if actual.shape != expected.shape:
        return Parity("failed", f"outputs have shape {actual.shape}, the network's {expected.shape}", by)
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    agreement = float(np.mean(actual.argmax(axis=1) == expected.argmax(axis=1)))
    measured = Parity(
        status="passed",
        by=by,
        max_abs_diff=float(difference.max()),
        mean_abs_diff=float(difference.mean()),
        top1_agreement=agreement,
        accuracy_before=accuracy_before,
        accuracy_after=accuracy(actual, labels),
        images=len(expected),
    )
    reason = "; ".join(_violations(measured, threshold, bool(np.isfinite(actual).all())))
    return replace_status(measured, "failed", reason) if reason else measured


def replace_status(parity: Parity, status: str, reason: str, first_drift: str | None = None) -> Parity:
    """The same figures with another verdict."""
    from dataclasses import replace

    return replace(parity, status=status, reason=reason, first_drift=first_drift)  # type: ignore[arg-type]


def accuracy(outputs: Array, labels: Array | None) -> float | None:
    """Fraction of images whose largest output is their label; None without labels."""
    return None if labels is None else float(np.mean(outputs.argmax(axis=1) == labels))


def _violations(parity: Parity, threshold: Threshold, finite: bool) -> list[str]:
    found = [] if finite else ["outputs hold NaN or infinity"]
    if threshold.max_abs_diff is not None and not parity.max_abs_diff <= threshold.max_abs_diff:  # type: ignore[operator]
        found.append(f"largest difference {parity.max_abs_diff:.3g} is above {threshold.max_abs_diff:g}")
    agreement = parity.top1_agreement or 0.0
    if agreement < threshold.top1_agreement:
        found.append(f"top-1 agreement {agreement:.2%} is below {threshold.top1_agreement:.2%}")
    before, after = parity.accuracy_before, parity.accuracy_after
    if threshold.accuracy_drop is not None and before is not None and after is not None:
        # Half an image of slack, or 0.5 points of 200 images would hang on float rounding.
        if before - after > threshold.accuracy_drop + 0.5 / parity.images:
            found.append(
                f"accuracy falls from {before:.2%} to {after:.2%}, more than {threshold.accuracy_drop:.1%}"
            )
    return found
