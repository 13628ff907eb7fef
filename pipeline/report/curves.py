"""How the trainings went: loss, learning rate and accuracy by epoch."""

from html import escape
from typing import Any, Final

from pipeline import foreign
from pipeline.report.data import Curve
from pipeline.report.figures import Figure

_COLOURS: Final = ("$accent", "$second", "$good", "$bad", "$muted")
_DASHES: Final = ("solid", "dot", "dash", "dashdot")


def curves_figure(curves: tuple[Curve, ...]) -> Figure | None:
    """Loss above, accuracy in the middle, learning rate below, each where it is known; one colour a training."""
    curves = tuple(curve for curve in curves if curve.points)
    if not curves:
        return None
    panels = [("loss (nats)", _losses(curves))]
    if accuracies := _accuracies(curves):
        panels.append(("accuracy", accuracies))
    if rates := _rates(curves):
        panels.append(("learning rate", rates))
    layout: dict[str, Any] = {
        "height": 90 + 190 * len(panels),
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "xaxis": {"title": {"text": "epoch"}, "automargin": True, "zeroline": False, "anchor": f"y{len(panels)}"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
    }
    traces = []
    height, gap = 1 / len(panels), 0.04
    for number, (title, lines) in enumerate(panels, 1):
        axis = "" if number == 1 else str(number)
        top = 1 - (number - 1) * height
        layout[f"yaxis{axis}"] = {
            "title": {"text": title},
            "automargin": True,
            "zeroline": False,
            "domain": [max(0.0, top - height + (gap if number < len(panels) else 0)), top],
        }
        if title == "accuracy":
            layout[f"yaxis{axis}"]["tickformat"] = ".0%"
        traces += [line | {"yaxis": f"y{axis}"} for line in lines]
    return {"data": traces, "layout": layout}


def curves_words(curves: tuple[Curve, ...]) -> str:
    """Of the plot."""
    if not any(curve.points for curve in curves):
        return "No curve of the training was kept."
    words = [
        f"{curve.name}: loss {first:.3g} to {last:.3g} in {curve.points[-1].epoch:.3g} epochs"
        for curve in curves
        for losses in [[point.loss for point in curve.points if point.loss is not None]]
        if losses
        for first, last in [(losses[0], losses[-1])]
    ]
    return (
        "; ".join(words) + ". The loss of a step is summed over the networks that it trains, so trainings of "
        "different recipes cannot be compared by it."
    )


def _losses(curves: tuple[Curve, ...]) -> list[dict[str, Any]]:
    return [
        _line(curve.name, [(p.epoch, p.loss) for p in curve.points if p.loss is not None], _COLOURS[n % 5], "%{y:.4f}")
        for n, curve in enumerate(curves)
    ]


def _accuracies(curves: tuple[Curve, ...]) -> list[dict[str, Any]]:
    lines = []
    for number, curve in enumerate(curves):
        names = dict.fromkeys(name for point in curve.points for name in point.accuracy or {})
        for dash, name in enumerate(names):
            known = [(p.epoch, (p.accuracy or {})[name]) for p in curve.points if name in (p.accuracy or {})]
            line = _line(f"{curve.name}, {name}", known, _COLOURS[number % 5], "%{y:.2%}")
            line["line"]["dash"] = _DASHES[dash % 4]
            lines.append(line)
    return lines


def _rates(curves: tuple[Curve, ...]) -> list[dict[str, Any]]:
    lines = []
    for number, curve in enumerate(curves):
        known = [(p.epoch, p.learning_rate) for p in curve.points if p.learning_rate is not None]
        if known:
            line = _line(curve.name, known, _COLOURS[number % 5], "%{y:.3g}")
            lines.append(line | {"showlegend": False})
    return lines


def _line(name: str, points: list[tuple[float, float]], colour: str, form: str) -> dict[str, Any]:
    shown = escape(foreign.visible(name), quote=False)  # Plotly reads some markup in names
    return {
        "type": "scatter",
        "mode": "lines" if len(points) > 1 else "markers",
        "name": shown,
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "line": {"color": colour, "width": 2},
        "hovertemplate": f"epoch %{{x:.3g}}: {form}<extra>%{{fullData.name}}</extra>",
    }
