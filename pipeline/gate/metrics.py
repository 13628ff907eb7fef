"""What the gate judges: each metric's name, unit, direction and the change that is allowed where nothing is said."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_SCALES: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


@dataclass(frozen=True, slots=True)
class Metric:
    """`unit` is written behind a figure, which has a letter for thousands before it where it is `scaled`.

    A limit is an upper bound unless the metric is judged `at_least`. `tolerance` is the share that it may change
    against a baseline; `what` says in a few words what is measured.
    """

    name: str
    unit: str
    what: str
    at_least: bool = False
    scaled: bool = False
    tolerance: float = 0.0

    def written(self, value: float, digits: int) -> str:
        """`value` with its unit, with so many digits."""
        scale, letter = 1.0, ""
        if self.scaled:
            scale, letter = next((one for one in _SCALES if abs(value) >= one[0]), _SCALES[-1])
        return f"{value / scale:.{digits}g}{letter} {self.unit}".replace("  ", " ").rstrip()


METRICS: Final[Mapping[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric("latency_ms", "ms", "milliseconds for one image", tolerance=0.025),
        Metric("macs", "MACs", "multiply-accumulates of one image", scaled=True),
        Metric("params", "parameters", "numbers stored as weights", scaled=True),
        Metric("size_mb", "MB", "megabytes of the file (1,000,000 bytes)", tolerance=0.01),
        Metric("accuracy", "", "share of test images classified right", at_least=True),
    )
}


def metric_of(name: str) -> Metric | None:
    """The metric that a limit or a result is about: "latency_ms.phone" and "macs vs baseline" too."""
    return METRICS.get(name.split(".")[0].split(" ")[0])
