"""Does the written file compute what the network computes?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from exporters.report import Parity
from exporters.request import Array, Threshold, usual_range

FEW_IMAGES: Final = 200


def compare(
    expected: Array,
    actual: Array,
    labels: Array | None,
    accuracy_before: float | None,
    threshold: Threshold,
    by: str,
) -> Parity:
    """Parity of a file's outputs (n, classes) with the network's on the same n images.

    Not a number anywhere in `actual` fails, whatever the thresholds.
    """
    if actual.shape != expected.shape:
        return Parity("failed", f"outputs have shape {actual.shape}, the network's {expected.shape}", by)
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    scale = float(np.abs(expected).max())
    behind = _behind(expected, actual)
    tie = threshold.tie * usual_range(expected)
    measured = Parity(
        status="passed",
        by=by,
        max_abs_diff=float(difference.max()),
        mean_abs_diff=float(difference.mean()),
        top1_agreement=float(np.mean(behind == 0)),
        accuracy_before=accuracy_before,
        accuracy_after=accuracy(actual, labels),
        images=len(expected),
    )
    agreement = float(np.mean(behind <= tie))
    found = _violations(measured, agreement, threshold, scale, bool(np.isfinite(actual).all()))
    found += _spread(difference, threshold, usual_range(expected))
    reason = "; ".join(found)
    if reason:
        return replace(measured, status="failed", reason=reason)
    if float(np.mean(behind == 0)) < threshold.top1_agreement:
        others, ties = int(np.sum(behind > 0)), int(np.sum((behind > 0) & (behind <= tie)))
        told = f"{others} of {len(expected)} images get another class, {ties} of them at a tie of this precision"
        return replace(measured, reason=f"{told} (the network rates both within {tie:.2g})")
    return replace(measured, reason=_weakness(expected))


def _behind(expected: Array, actual: Array) -> Array:
    """How far below its best class (n,) the network rates the class that the file chose; 0 where they agree."""
    rows = np.arange(len(expected))
    first = expected.argmax(axis=1)
    chosen = actual.argmax(axis=1)
    apart = expected[rows, first].astype(np.float64) - expected[rows, chosen]
    # Exactly equal outputs are two classes all the same.
    behind: Array = np.where(first == chosen, 0.0, np.maximum(apart, np.finfo(np.float64).tiny))
    return behind


def worst(parities: Sequence[Parity]) -> Parity:
    """Of several runtimes: the one that is farthest off, a failed one first; `by` names all that agreed."""
    failed = [parity for parity in parities if parity.status == "failed"]
    if failed:
        return failed[0]
    farthest = max(parities, key=lambda parity: parity.max_abs_diff or 0.0)
    return replace(farthest, by="; ".join(parity.by for parity in parities))


def accuracy(outputs: Array, labels: Array | None) -> float | None:
    """Fraction of images whose largest of `outputs` (n, classes) is their label (n,); None without labels."""
    return None if labels is None else float(np.mean(outputs.argmax(axis=1) == labels))


def _weakness(expected: Array) -> str:
    """Why a passed parity says less than it seems to; empty where nothing speaks against it."""
    if len(expected) > 1 and len(np.unique(expected.argmax(axis=1))) == 1:
        return "the network gives all images the same class: agreement says little about it"
    if len(expected) < FEW_IMAGES:
        return f"only {len(expected)} images: {FEW_IMAGES} or more would say something about agreement"
    return ""


def _violations(parity: Parity, agreement: float, threshold: Threshold, scale: float, finite: bool) -> list[str]:
    found = [] if finite else ["outputs hold NaN or infinity"]
    allowed = threshold.allowed_difference(scale)
    if allowed is not None and not parity.max_abs_diff <= allowed:  # type: ignore[operator]
        found.append(f"largest difference {parity.max_abs_diff:.3g} is above {allowed:.3g} (outputs reach {scale:.3g})")
    if agreement < threshold.top1_agreement:
        tied = (
            "" if agreement == parity.top1_agreement else f", ties counted as agreement ({parity.top1_agreement:.2%}),"
        )
        found.append(f"top-1 agreement {agreement:.2%}{tied} is below {threshold.top1_agreement:.2%}")
    drop = _drop(parity)
    # A thousandth of an image of slack, or a drop of exactly the allowed size would hang on float rounding.
    if threshold.accuracy_drop is not None and drop > threshold.accuracy_drop + 1e-3 / parity.images:
        found.append(f"accuracy falls by {drop:.2%}, to {parity.accuracy_after:.2%}")
    return found


def _spread(difference: Array, threshold: Threshold, usual: float) -> list[str]:
    if threshold.max_rms_diff is None:
        return []
    found, allowed = float(np.sqrt(np.mean(difference**2))), threshold.max_rms_diff * usual
    # What is not finite was told already.
    return [f"differences of {found:.3g} in the mean square are above {allowed:.3g}"] if found > allowed else []


def _drop(parity: Parity) -> float:
    if parity.accuracy_before is None or parity.accuracy_after is None:
        return 0.0
    return parity.accuracy_before - parity.accuracy_after
