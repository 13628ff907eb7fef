"""The report's plots as Plotly figures in plain dicts. Colours are names that the page's script fills in."""

from itertools import accumulate
from typing import Any, Final

from pipeline.report.data import (
    BlockLatency,
    Pair,
    Point,
    RankEvidence,
    ReportData,
    ShownTableError,
    StageSeconds,
    Trial,
    front,
)

Figure = dict[str, Any]
ACCENT, GOOD, BAD, MUTED, SECOND = "$accent", "$good", "$bad", "$muted", "$second"


_RANDOM: Final = {"color": SECOND, "size": 9, "symbol": "diamond-open"}
_FINALIST: Final = {"color": GOOD, "size": 9, "symbol": "circle-open"}
_RING: Final = {"color": "$ink", "size": 24, "symbol": "circle-open", "line": {"width": 2}}


def front_figure(data: ReportData) -> Figure | None:
    """Accuracy against latency: what was tried, its front, what was trained to the end, the winner, the budget.

    The last trace is for the page's script: a ring around the network that is looked at.
    """
    judged = tuple(Point(t.name, t.latency_ms, t.accuracy) for t in data.tried if t.accuracy is not None)
    if not judged and not data.random_points:
        return None
    best = front(judged)
    winner = Point(data.winner.arch, data.winner.predicted_ms, data.winner.accuracy)
    traces = [
        _points("tried by the search", judged, {"color": ACCENT, "size": 7, "opacity": 0.45}),
        _points("best of them", best, {"color": ACCENT, "size": 8}, line={"shape": "hv", "width": 2, "color": ACCENT}),
        _points("random, trained alone", data.random_points, _RANDOM),
        _points("finalists, trained alone", data.finalists, _FINALIST),
        _points("winner, trained alone", (winner,), {"color": GOOD, "size": 17, "symbol": "star"}),
    ]
    layout = _layout("latency (ms, predicted)", "accuracy", yaxis={"tickformat": ".0%"})
    limit = data.budget.get("latency_ms")
    if limit is not None:
        layout |= _limit_line(limit, f"budget {limit:.4g} ms")
    ring = _points("looked at", (winner,), _RING) | {"hoverinfo": "skip", "hovertemplate": None}
    return {"data": [*(trace for trace in traces if trace["x"]), ring], "layout": layout}


def search_figure(tried: tuple[Trial, ...]) -> Figure | None:
    """Accuracy of each network in the order it was tried, and the best so far."""
    judged = [trial for trial in tried if trial.accuracy is not None]
    if not judged:
        return None
    best = list(accumulate((t.accuracy or 0.0 for t in judged if t.feasible), max))
    points = tuple(Point(f"{t.name}, {t.latency_ms:.3g} ms", t.number, t.accuracy or 0.0) for t in judged)
    traces = [
        _points("tried", points, {"color": ACCENT, "size": 6, "opacity": 0.5}),
        {
            "type": "scatter",
            "mode": "lines",
            "name": "best so far",
            "x": [t.number for t in judged if t.feasible],
            "y": best,
            "line": {"shape": "hv", "width": 3, "color": GOOD},
        },
    ]
    return {"data": traces, "layout": _layout("network number", "accuracy", yaxis={"tickformat": ".0%"})}


def blocks_figure(blocks: tuple[BlockLatency, ...], fixed_ms: float) -> Figure | None:
    """Milliseconds of each block of the winner, first block on top."""
    if not blocks:
        return None
    bars = [*blocks, *([BlockLatency("fixed part", fixed_ms, 0)] if fixed_ms > 0 else [])]
    total = sum(bar.ms for bar in bars)
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [bar.ms for bar in bars],
        "y": [f"{number}. {bar.label}" for number, bar in enumerate(bars, 1)],
        "marker": {"color": ACCENT},
        "text": [f"{bar.ms / total:.0%}" if total else "" for bar in bars],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": [f"{bar.macs / 1e6:.2f}M MACs" for bar in bars],
        "hovertemplate": "%{y}<br>%{x:.4f} ms, %{customdata}<extra></extra>",
    }
    layout = _layout("milliseconds", "", yaxis={"autorange": "reversed", "tickfont": {"size": 11}})
    layout |= {"height": 110 + 21 * len(bars), "bargap": 0.25, "showlegend": False}
    layout["xaxis"]["range"] = [0, 1.15 * max(bar.ms for bar in bars)]
    return {"data": [trace], "layout": layout}


def pairs_figure(pairs: tuple[Pair, ...], error: ShownTableError | None = None) -> Figure | None:
    """Measured against predicted latency, with the diagonal and what the table's error allows beside it."""
    if not pairs:
        return None
    top = 1.08 * max(max(pair.predicted_ms, pair.measured_ms) for pair in pairs)
    points = [Point(pair.name, pair.predicted_ms, pair.measured_ms) for pair in pairs]
    low, high = (0.9, 1.1) if error is None else (error.low, error.high)
    band = {
        "type": "scatter",
        "mode": "lines",
        "name": "within 10 %" if error is None else "95 % of networks",
        "x": [0, top, top, 0],
        "y": [0, high * top, low * top, 0],
        "fill": "toself",
        "fillcolor": "$band",
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    line = {
        "type": "scatter", "mode": "lines", "name": "exact", "x": [0, top], "y": [0, top],
        "line": {"color": MUTED, "dash": "dash", "width": 1}, "hoverinfo": "skip",
    }  # fmt: skip
    hover = "%{x:.3f} ms predicted<br>%{y:.3f} ms measured"
    dots = _points("a network", tuple(points), {"color": ACCENT, "size": 8}, hover)
    layout = _layout("predicted (ms)", "measured (ms)", yaxis={"range": [0, top]})
    layout["xaxis"]["range"] = [0, top]
    return {"data": [band, line, dots], "layout": layout}


def ranks_figure(ranks: tuple[RankEvidence, ...]) -> Figure | None:
    """Kendall's tau of each proxy with its 95 % interval."""
    if not ranks:
        return None
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [rank.kendall_tau for rank in ranks],
        "y": [rank.proxy for rank in ranks],
        "marker": {"color": ACCENT, "size": 12},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [rank.high - rank.kendall_tau for rank in ranks],
            "arrayminus": [rank.kendall_tau - rank.low for rank in ranks],
            "color": ACCENT,
            "thickness": 2,
        },
        "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
    }
    layout = _layout("Kendall's tau", "", yaxis={"autorange": "reversed"})
    layout |= {"height": 130 + 42 * len(ranks), "showlegend": False}
    layout["xaxis"] |= {"range": [min(-0.2, *(rank.low for rank in ranks)) - 0.05, 1.05], "zeroline": True}
    return {"data": [trace], "layout": layout}


def stages_figure(stages: tuple[StageSeconds, ...]) -> Figure | None:
    """Seconds of each stage, as one stacked bar's worth of rows."""
    if not stages:
        return None
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [stage.seconds for stage in stages],
        "y": [stage.name for stage in stages],
        "marker": {"color": SECOND},
        "text": [f"{stage.seconds:.1f} s" for stage in stages],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{y}: %{x:.1f} s<extra></extra>",
    }
    layout = _layout("seconds", "", yaxis={"autorange": "reversed"})
    layout |= {"height": 110 + 26 * len(stages), "showlegend": False}
    layout["xaxis"]["range"] = [0, 1.18 * max(stage.seconds for stage in stages)]
    return {"data": [trace], "layout": layout}


def _points(
    name: str,
    points: tuple[Point, ...],
    marker: dict[str, Any],
    hover: str = "%{x:.3f} ms, %{y:.2%}",
    line: dict[str, Any] | None = None,
) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers" if line is None else "lines+markers",
        "name": name,
        "x": [point.latency_ms for point in points],
        "y": [point.accuracy for point in points],
        "text": [point.name for point in points],
        "marker": marker,
        "hovertemplate": f"<b>%{{text}}</b><br>{hover}<extra>{name}</extra>",
    }
    return trace if line is None else trace | {"line": line}


def _layout(x: str, y: str, yaxis: dict[str, Any]) -> dict[str, Any]:
    return {
        "height": 420,
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "xaxis": {"title": {"text": x}, "automargin": True, "zeroline": False},
        "yaxis": {"title": {"text": y}, "automargin": True, "zeroline": False} | yaxis,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
    }


def _limit_line(limit: float, text: str) -> dict[str, Any]:
    line = {"type": "line", "x0": limit, "x1": limit, "yref": "paper", "y0": 0, "y1": 1}
    label = {"x": limit, "yref": "paper", "y": 0.02, "text": text, "showarrow": False, "xanchor": "left", "xshift": 5}
    return {
        "shapes": [line | {"line": {"color": BAD, "width": 2, "dash": "dot"}}],
        "annotations": [label | {"font": {"color": BAD}}],
    }
