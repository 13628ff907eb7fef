"""How figures are written for people. Never rounded so far that "10 is above 10" could be read."""

from typing import Final

_SCALES: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def amount(metric: str, value: float, beside: float | None = None) -> str:
    """`value` of a metric with its unit, with as many digits as it takes to differ from `beside`."""
    for digits in range(4, 17):
        text = _written(metric, value, digits)
        if beside is None or beside == value or text != _written(metric, beside, digits):
            return text
    return _written(metric, value, 17)


def change(share: float, signed: bool = False) -> str:
    """A relative change in percent: "+5.00 %"; two digits behind the point, more for tiny ones."""
    if share == 0:
        return "0.00 %"
    percent = 100 * share
    digits = 2 if abs(percent) >= 0.01 else 6
    return f"{percent:{'+' if signed else ''}.{digits}f} %"


def _written(metric: str, value: float, digits: int) -> str:
    match metric.split(".")[0]:
        case "latency_ms":
            return f"{value:.{digits}g} ms"
        case "size_mb":
            return f"{value:.{digits}g} MB"
        case "macs" | "params":
            scale, letter = next((s for s in _SCALES if abs(value) >= s[0]), _SCALES[-1])
            return f"{value / scale:.{digits}g}{letter} {'MACs' if metric == 'macs' else 'parameters'}"
        case _:
            return f"{value:.{digits}g}"
