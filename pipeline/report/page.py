"""The report of a run as one HTML file: everything is inside, nothing is fetched."""

from html import escape
from typing import Any

from pipeline.gate.results import CheckResult, Report
from pipeline.gate.units import amount
from pipeline.report import figures
from pipeline.report.answers import answers_section
from pipeline.report.curves import curves_figure, curves_words
from pipeline.report.data import ReportData
from pipeline.report.html import asset, code, figure_section, json_in_html, policy, section, table, text
from pipeline.report.networks import picker
from pipeline.report.next_steps import next_section
from pipeline.report.story import story_section
from pipeline.report.words import (
    baseline_words,
    blocks_words,
    front_words,
    pairs_words,
    ranks_words,
    search_words,
)

_CHECK_HEADS = ("result", "model", "check", "limit", "found", "message")


def render_report(data: ReportData) -> str:
    """The page, as text to be written to `report.html` (about 5 MB, nearly all of it the plotting library)."""
    from plotly.offline import get_plotlyjs

    plots = {
        "front": figures.front_figure(data),
        "search": figures.search_figure(data.tried),
        "curves": curves_figure(data.curves),
        "blocks": figures.blocks_figure(data.blocks, data.fixed_ms),
        "pairs": figures.pairs_figure(data.pairs, data.table_error),
        "ranks": figures.ranks_figure(data.ranks),
        "stages": figures.stages_figure(data.stages),
    }
    drawn = {name: figure for name, figure in plots.items() if figure is not None}
    look = picker(data.networks, data.winner.arch) if "front" in drawn else ""
    sections = [
        story_section(data),
        next_section(data),
        figure_section("front", "Accuracy against latency", front_words(data), drawn, look),
        answers_section(data.answers),
        figure_section("search", "What the search tried", search_words(data), drawn),
        figure_section("curves", "How the training went", curves_words(data.curves), drawn),
        figure_section("blocks", "Where the winner's milliseconds go", blocks_words(data), drawn),
        figure_section("pairs", "Predicted against measured", pairs_words(data), drawn),
        figure_section("ranks", "Does the search's ranking hold?", ranks_words(data), drawn),
        section("parity", "The exported files", _exports(data)),
        section("gate", "The gate", _checks(data.checks)),
        figure_section("stages", "Where the time went", "", drawn),
        section("provenance", "How this was made", _provenance(data)),
    ]
    scripts = [get_plotlyjs(), asset("draw.js"), asset("pick.js")]
    return _PAGE.format(
        title=escape(data.title),
        policy=policy(scripts),
        style=asset("style.css"),
        header=_header(data),
        cards=_cards(data),
        sections="\n".join(sections),
        figures=json_in_html(drawn),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{header}
{cards}
{sections}
<footer>Made by pocketnas. This page holds all of its data and needs no network.</footer>
</main>
<script type="application/json" id="figures">{figures}</script>
{scripts}
</body>
</html>
"""


def _header(data: ReportData) -> str:
    report = Report(data.checks)
    if not data.checks:
        badge = '<span class="badge notrun">gate: not run</span>'
    else:
        word = "passed" if report.passed else "failed" if report.exit_code == 1 else "undecided"
        badge = f'<span class="badge {word}">gate: {word}</span>'
    links = (
        ("story", "in short"), *([("next", "what next")] if data.path else []), ("front-section", "front"),
        ("answers", "right and wrong"), ("search-section", "search"), ("curves-section", "training"),
        ("blocks-section", "milliseconds"), ("pairs-section", "predictions"), ("ranks-section", "ranking"),
        ("parity", "files"), ("gate", "gate"), ("provenance", "provenance"),
    )  # fmt: skip
    nav = "".join(f'<a href="#{target}">{name}</a>' for target, name in links)
    return (
        f"<header><h1>{text(data.title)} {badge}</h1>"
        f'<p class="lead">Images: {text(data.data)}. Device: {text(data.device)}.</p>'
        f"<p>Winner: <code>{escape(data.winner.arch)}</code></p><nav>{nav}</nav></header>"
    )


def _cards(data: ReportData) -> str:
    winner, budget = data.winner, data.budget
    cards = [("accuracy", f"{winner.accuracy:.2%}", _limit("accuracy", budget, "at least {}"))]
    shown = winner.predicted_ms if winner.measured_ms is None else winner.measured_ms
    how = "predicted" if winner.measured_ms is None else f"measured; predicted {winner.predicted_ms:.3g} ms"
    limit = _limit("latency_ms", budget, "at most {}")
    cards.append(("latency", amount("latency_ms", shown), f"{how}; {limit}"))
    cards.append(("computation", amount("macs", winner.macs), _limit("macs", budget, "at most {}")))
    parameters = amount("params", winner.params).removesuffix(" parameters")
    cards.append(("parameters", parameters, _limit("params", budget, "at most {}")))
    written = [row for row in data.exports if row.size_mb > 0]
    if written:
        smallest = min(written, key=lambda row: row.size_mb)
        cards.append(("smallest file", amount("size_mb", smallest.size_mb), f"{smallest.format} {smallest.precision}"))
    if data.baseline is not None:
        cards.append(("against random", f"{data.baseline.improvement_percent:+.2f} %", baseline_words(data.baseline)))
    tiles = "".join(_tile(*card) for card in cards)
    return f'<div class="cards">{tiles}</div>'


def _tile(what: str, figure: str, note: str) -> str:
    words = f'<span class="what">{escape(what)}</span><b>{escape(figure)}</b><span>{escape(note)}</span>'
    return f'<div class="tile">{words}</div>'


def _limit(metric: str, budget: Any, form: str) -> str:
    limit = budget.get(metric)
    if limit is None:
        return "no limit"
    return f"budget: {form.format(f'{100 * limit:.4g}%' if metric == 'accuracy' else amount(metric, limit))}"


def _exports(data: ReportData) -> str:
    if not data.exports:
        return '<p class="note">Nothing was exported.</p>'
    rows = [
        (
            row.format,
            row.precision,
            code(row.path) if row.path else "",
            amount("size_mb", row.size_mb) if row.size_mb else "not written",
            f'<span class="{row.status.replace(" ", "")}">{row.status}</span>',
            "" if row.max_abs_diff is None else f"{row.max_abs_diff:.2g}",
            "" if row.top1_agreement is None else f"{row.top1_agreement:.2%}",
            "" if row.accuracy_after is None else f"{row.accuracy_after:.2%}",
            text("; ".join(filter(None, (row.by, row.reason)))),
        )
        for row in data.exports
    ]
    heads = ("format", "precision", "file", "size", "parity", "largest difference", "same answer", "accuracy", "run by")
    words = (
        "Each file was run on test images and compared with the trained network; "
        "“not run” says that nothing here could run it, never that it is right."
    )
    return f'<p class="note">{words}</p>' + table(heads, rows, numbers={3, 5, 6, 7})


def _checks(checks: tuple[CheckResult, ...]) -> str:
    if not checks:
        return '<p class="note">The gate has not run.</p>'
    rows = []
    for check in checks:
        metric = check.name.removesuffix(" vs baseline")
        relative = metric != check.name
        found = "?" if check.actual is None else _figure(metric, check.actual, relative)
        place = f" ({check.device})" if check.device else ""
        warns = " (warns)" if check.level == "warn" and not check.passed else ""
        rows.append(
            (
                f'<span class="{check.status}">{check.status}</span>' + warns,
                text(check.model),
                text(check.name + place),
                escape(f"{check.operator} {_figure(metric, check.expected, relative)}"),
                escape(found),
                text(f"{check.message} [{check.source}]"),
            )
        )
    return table(_CHECK_HEADS, rows, numbers={3, 4})


def _figure(metric: str, value: float, relative: bool) -> str:
    return f"{100 * value:+.2f} %" if relative else amount(metric, value)


def _provenance(data: ReportData) -> str:
    rows = [(escape(name), code(value)) for name, value in data.provenance]
    return table(("what", "value"), rows, numbers=set()) if rows else '<p class="note">Nothing was recorded.</p>'
