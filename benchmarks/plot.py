"""Small plots as SVG: lines over evaluations on a logarithmic axis, and rows of points."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 420, 70, 40, 120, 50
COLOURS = ("#c0392b", "#2471a3", "#1e8449", "#7d3c98", "#b9770e", "#117a65", "#5d6d7e", "#a04000", "#2c3e50", "#d35400")


@dataclass(frozen=True, slots=True)
class Curve:
    """One line."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str


def line_plot(title: str, x_label: str, y_label: str, curves: Sequence[Curve]) -> str:
    """The plot as an SVG document; x is logarithmic."""
    xs = [math.log10(x) for curve in curves for x in curve.x]
    ys = [y for curve in curves for y in curve.y]
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)
    x1, y1 = (x1 if x1 > x0 else x0 + 1), (y1 if y1 > y0 else y0 + 1)

    def at(x: float, y: float) -> tuple[float, float]:
        right = LEFT + (math.log10(x) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        return right, HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
        f'<text x="{(WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}">{escape(x_label)}</text>',
        f'<text x="14" y="{HEIGHT / 2}" transform="rotate(-90 14 {HEIGHT / 2})">{escape(y_label)}</text>',
    ]
    for x in (digit * 10**power for power in range(math.floor(x0), math.floor(x1) + 1) for digit in (1, 2, 5)):
        if not x0 - 1e-9 <= math.log10(x) <= x1 + 1e-9:
            continue
        px, _ = at(x, y0)
        parts.append(f'<line x1="{px:.1f}" x2="{px:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>')
        parts.append(f'<text x="{px:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>')
    for step in range(6):
        y = y0 + step * (y1 - y0) / 5
        _, py = at(10**x0, y)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py:.1f}" y2="{py:.1f}" stroke="#eee"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{py + 4:.1f}" text-anchor="end">{y:.2f}</text>')
    for number, curve in enumerate(curves):
        points = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in zip(curve.x, curve.y, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{curve.colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="{WIDTH - RIGHT + 10}" y="{TOP + 16 * number + 10}" fill="{curve.colour}">'
            f"{escape(curve.name)}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def side_by_side(plots: Sequence[str], columns: int) -> str:
    """Plots of `line_plot` in rows of `columns`, as one SVG document."""
    rows = -(-len(plots) // columns)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * WIDTH} {rows * HEIGHT}">']
    for number, plot in enumerate(plots):
        row, column = divmod(number, columns)
        parts.append(f'<g transform="translate({column * WIDTH} {row * HEIGHT})">\n{plot}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def dot_plot(
    title: str, rows: Mapping[str, Mapping[str, float]], reach: tuple[float, float], ticks: Sequence[float]
) -> str:
    """One row a name, one labelled point for each of its values between the ends of `reach`, as an SVG document."""
    left, row_height = max(190, 24 + 7 * max(map(len, rows), default=0)), 30

    def at(value: float) -> float:
        return left + (value - reach[0]) / (reach[1] - reach[0]) * (WIDTH - left - 20)

    height = 60 + row_height * len(rows)
    colours: dict[str, str] = {}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"',
        f' font-family="sans-serif" font-size="12"><rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="10" y="20" font-size="14">{escape(title)}</text>',
    ]
    for tick in ticks:
        parts.append(f'<line x1="{at(tick):.1f}" x2="{at(tick):.1f}" y1="32" y2="{height - 22}" stroke="#ddd"/>')
        parts.append(f'<text x="{at(tick):.1f}" y="{height - 8}" text-anchor="middle">{tick:g}</text>')
    for row, (name, values) in enumerate(rows.items()):
        y = 52 + row_height * row
        parts.append(f'<text x="{left - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        for label, value in values.items():
            x, colour = at(value), colours.setdefault(label, COLOURS[len(colours) % len(COLOURS)])
            parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="8" fill="{colour}" fill-opacity="0.85"/>')
            parts.append(f'<text x="{x:.1f}" y="{y + 4}" text-anchor="middle" fill="white">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
