"""How far an accuracy on some images can be trusted for other images of the same kind."""

from typing import Final

from pipeline.errors import PipelineError

_Z: Final = 1.959964  # two-sided 95 % of a normal


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of which `right` of `n` images were seen (Wilson 1927), as shares of 1.

    It stays inside 0 to 1 and has a width where all are right, which few images need. Raises PipelineError without
    images.
    """
    if not 0 <= right <= n or n < 1:
        raise PipelineError(f"{right} of {n} images say nothing about a share; at least one image is needed")
    share, z2 = right / n, _Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = _Z / (1 + z2 / n) * (share * (1 - share) / n + z2 / (4 * n * n)) ** 0.5
    # Rounding must not leave out what was seen.
    return min(share, max(0.0, middle - reach)), max(share, min(1.0, middle + reach))
