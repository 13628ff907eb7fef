"""How figures are written for people. Never rounded so far that "10 is above 10" could be read."""

from pipeline.gate.metrics import metric_of


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


def _written(name: str, value: float, digits: int) -> str:
    metric = metric_of(name)
    return f"{value:.{digits}g}" if metric is None else metric.written(value, digits)
