"""One CSV of truth and proxies -> the rank report: a document for JSON, and a page with plots."""

import html
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import numpy as np

from latency_tables.texts import parse_number, read_csv
from pipeline.ranking.options import option_residuals, table_of_options
from pipeline.ranking.regions import region_table
from pipeline.ranking.statistics import Bootstrap, Estimate, RankError, rank_statistics, tau_differences, tau_estimate
from pipeline.ranking.weighted import Floats

FEWEST_NETWORKS: Final = 3
_TENTH_OF: Final = 20  # networks, whose best tenth is two: fewer have no order


@dataclass(frozen=True, slots=True)
class Question:
    """What to compare: columns of a CSV by name.

    In `lower` columns lower is better (latency, loss). `sizes` are columns such as MACs; `arch` holds spellings
    whose options get residuals; `region` is a column, or a place among the options of `arch`, whose values are
    the regions of the space.
    """

    truth: str
    proxies: tuple[str, ...]
    lower: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    arch: str | None = None
    region: str | None = None
    bootstrap: Bootstrap = field(default_factory=Bootstrap)


@dataclass(frozen=True)
class Columns:
    """A CSV file in memory: column name -> one string per row."""

    path: Path
    values: dict[str, list[str]]
    decimal_comma: bool = False

    @classmethod
    def read(cls, path: Path) -> "Columns":
        """Read `path` (.csv or .csv.gz, with a header line; see `latency_tables.texts` for what may divide cells)."""
        table = read_csv(path, RankError)
        if not table.rows:
            raise RankError(f"{path} has no rows; needed is a header line and one line for each network")
        columns = zip(*(cells for _, cells in table.rows), strict=True)
        return cls(
            path,
            {name: list(cells) for name, cells in zip(table.header, columns, strict=True)},
            table.decimal_comma,
        )

    def text(self, name: str) -> list[str]:
        """The column as it stands."""
        if name not in self.values:
            raise RankError(f"{self.path} has no column {name!r}; its columns are {', '.join(self.values)}")
        return self.values[name]

    def numbers(self, name: str, negate: bool = False) -> Floats:
        """The column as numbers (rows,), NaN where a field is empty or says nan; higher is better if `negate` is
        right."""
        texts = self.text(name)
        try:
            column = np.array([parse_number(text, self.decimal_comma) if text else math.nan for text in texts])
        except ValueError as error:
            raise RankError(f"column {name!r} of {self.path} is not numeric: {error}") from None
        return -column if negate else column


def rank_document(columns: Columns, question: Question) -> dict[str, Any]:
    """Proxy -> its figures (intervals are 95 %); undefined ones are None. Rows without a value are left out, counted.

    Raises RankError for columns that are missing, not numeric, or empty where the truth is known.
    """
    if not question.proxies:
        raise RankError(f"no proxy to compare with {question.truth!r}; name at least one column")
    for name in question.lower:
        columns.text(name)
        if name not in (question.truth, *question.proxies):
            raise RankError(f"--lower {name!r} is neither the truth nor a proxy, so it changes nothing")
    truth = columns.numbers(question.truth, question.truth in question.lower)
    proxies = {name: columns.numbers(name, name in question.lower) for name in question.proxies}
    sizes = {name: columns.numbers(name) for name in question.sizes}
    options = table_of_options(columns.text(question.arch)) if question.arch else None
    regions = _regions(columns, question, options)
    differences = _differences(truth, proxies, question.bootstrap)
    document = {}
    for name, proxy in proxies.items():
        known = np.flatnonzero(np.isfinite(truth) & np.isfinite(proxy))
        if len(known) < FEWEST_NETWORKS:
            rows = f"only {len(known)} rows have" if len(known) else "no row has"
            needed = f"to compare rankings at least {FEWEST_NETWORKS} are needed"
            raise RankError(f"{rows} both {question.truth!r} and {name!r}; {needed}")
        y, x = truth[known], proxy[known]
        entry = _figures(y, x, {size: column[known] for size, column in sizes.items()}, question.bootstrap)
        entry["missing"] = len(truth) - len(known)
        entry["minus"] = {other: _estimate(differences[name, other]) for other in proxies if other != name}
        if options is not None:
            entry["option_residuals"] = [asdict(r) for r in option_residuals(y, x, [options[i] for i in known])]
        if regions is not None:
            entry["regions"] = [
                asdict(row) | {"kendall_tau": _estimate(row.kendall_tau)}
                for row in region_table(y, x, [regions[i] for i in known], question.bootstrap)
            ]
        document[name] = entry
    return document


def _figures(y: Floats, x: Floats, sizes: dict[str, Floats], bootstrap: Bootstrap) -> dict[str, Any]:
    top = (1, 10, 100)
    found = rank_statistics(y, x, bootstrap, top, sizes)
    single = {
        "kendall_tau": found.kendall_tau,
        "spearman": found.spearman,
        "precision_at_10_percent": found.precision_at_10_percent,
        "tau_in_true_top_10_percent": found.tau_in_true_top_10_percent,
        "spearman_in_true_top_10_percent": found.spearman_in_true_top_10_percent,
    }
    entry: dict[str, Any] = {"n": found.n, "mean_truth": found.mean_truth, "ci95": found.kendall_tau.ci95}
    for name, estimate in single.items():
        entry |= {name: estimate.value, f"{name}_ci95": estimate.ci95}
    for k in top:
        for what, figures in (("best", found.best_in_top_k), ("mean", found.mean_in_top_k)):
            estimate = figures.get(k, Estimate(None))
            entry |= {f"{what}_in_top_{k}": estimate.value, f"{what}_in_top_{k}_ci95": estimate.ci95}
        entry[f"best_in_top_{k}_over_ties"] = found.tied_best_in_top_k.get(k)
        entry[f"random_best_in_top_{k}"] = found.random_best_in_top_k.get(k)
        entry[f"random_mean_in_top_{k}"] = found.mean_truth if k in found.random_best_in_top_k else None
    entry["size"] = {
        name: {
            "proxy": _estimate(estimate),
            "truth": _estimate(tau_estimate(y, sizes[name], bootstrap)),
        }
        for name, estimate in found.tau_with_size.items()
    }
    return entry


def _differences(truth: Floats, proxies: dict[str, Floats], bootstrap: Bootstrap) -> dict[tuple[str, str], Estimate]:
    """Paired differences on the rows where both have values; each proxy is resampled once for each such set of rows."""
    known = {name: np.isfinite(truth) & np.isfinite(proxy) for name, proxy in proxies.items()}
    found: dict[tuple[str, str], Estimate] = {}
    for one, other in permutations(proxies, 2):
        if (one, other) in found:
            continue
        rows = known[one] & known[other]
        alike = [name for name in proxies if np.array_equal(known[name], rows)]
        names = alike if {one, other} <= set(alike) else [one, other]
        if rows.any():
            found |= tau_differences(truth[rows], {name: proxies[name][rows] for name in names}, bootstrap)
        else:
            found[one, other] = Estimate(None)
    return found


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {"tau": estimate.value, "ci95": estimate.ci95}


def _regions(columns: Columns, question: Question, options: list[dict[str, str]] | None) -> list[str] | None:
    if question.region is None:
        return None
    if question.region in columns.values:
        return columns.text(question.region)
    if options is not None and question.region in options[0]:
        return [row[question.region] for row in options]
    places = f"; places of {question.arch!r} are {', '.join(options[0])}" if options else ""
    raise RankError(f"{question.region!r} is no column of {columns.path} ({', '.join(columns.values)}){places}")


def write_page(path: Path, columns: Columns, question: Question, document: dict[str, Any]) -> None:
    """A self-contained page: the table, truth over each proxy, the recall of the best, and the residuals."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    from latency_tables.files import write_atomic

    truth = columns.numbers(question.truth, question.truth in question.lower)
    names = list(question.proxies)
    scatter = make_subplots(1, len(names), subplot_titles=names, shared_yaxes=True)
    recall = go.Figure()
    for place, name in enumerate(names, 1):
        proxy = columns.numbers(name, name in question.lower)
        known = np.flatnonzero(np.isfinite(truth) & np.isfinite(proxy))
        # A page with 15,625 points a plot is slow to open; 3,000 show the same cloud.
        shown = np.random.default_rng(0).permutation(known)[:3000]
        points = go.Scattergl(x=proxy[shown], y=truth[shown], mode="markers", marker={"size": 3}, showlegend=False)
        scatter.add_trace(points, row=1, col=place)
        fractions = np.linspace(0.01, 1, 100)
        recall.add_trace(go.Scatter(x=fractions, y=_recall(truth[known], proxy[known], fractions), name=name))
    recall.add_trace(go.Scatter(x=[0, 1], y=[0, 1], name="chance", line={"dash": "dot"}))
    scatter.update_layout(title=f"{question.truth} over each proxy", height=420)
    axes = {"xaxis_title": "share of networks kept", "yaxis_title": "share of the true best tenth among them"}
    recall.update_layout(title="What is lost when the worst by proxy are dropped", height=420, **axes)
    figures = [scatter, recall, *_residual_plots(document, go)]
    plots = [figure.to_html(full_html=False, include_plotlyjs=(i == 0)) for i, figure in enumerate(figures)]
    title = html.escape(f"Ranking of {columns.path.name} by {', '.join(names)}")
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        "<style>body{font:16px sans-serif;max-width:75em;margin:2em auto;padding:0 1em}"
        "td,th{padding:.2em .8em;text-align:left}</style>"
        f"<h1>{title}</h1>{_table(document)}{''.join(plots)}</html>"
    )
    write_atomic(path, page.encode())


def _recall(truth: Floats, proxy: Floats, fractions: Floats) -> list[float]:
    """For each fraction of networks kept (the best by proxy), the share of the truly best tenth among them."""
    from pipeline.ranking.weighted import Order

    ones = np.ones((1, len(truth)))
    tenth = np.array([max(1.0, math.floor(0.1 * len(truth)))])
    best = Order.of(truth).top_shares(ones, tenth)[0]
    order = Order.of(proxy)
    kept = (order.top_shares(ones, np.array([f * len(truth)]))[0] for f in fractions)
    return [float((best * share).sum() / tenth[0]) for share in kept]


def _residual_plots(document: dict[str, Any], go: Any) -> list[Any]:
    figures = []
    for name, entry in document.items():
        rows = entry.get("option_residuals") or []
        if rows:
            labels = [f"{row['place']} {row['option']}" for row in rows]
            figure = go.Figure(go.Bar(x=labels, y=[row["residual"] for row in rows]))
            figure.update_layout(title=f"{name}: options rated too high (above 0) or too low", height=420)
            figures.append(figure)
    return figures


def _table(document: dict[str, Any]) -> str:
    head = "".join(f"<th>{column}" for column in ("proxy", *(label for label, _ in SHOWN)))
    lines = [
        f"<tr><td>{html.escape(name)}" + "".join(f"<td>{shown(entry, key)}" for _, key in SHOWN)
        for name, entry in document.items()
    ]
    return f"<table><tr>{head}{''.join(lines)}</table>"


SHOWN: Sequence[tuple[str, str]] = (
    ("networks", "n"),
    ("Kendall tau-b", "kendall_tau"),
    ("Spearman", "spearman"),
    ("precision at 10 %", "precision_at_10_percent"),
    ("best in top 10", "best_in_top_10"),
    ("random 10", "random_best_in_top_10"),
    ("tau in true top 10 %", "tau_in_true_top_10_percent"),
)


def shown(entry: dict[str, Any], key: str) -> str:
    """A figure with its interval, for people."""
    value, interval = entry[key], entry.get(f"{key}_ci95")
    if value is None:
        return "too few networks" if "10" in key and entry["n"] < _TENTH_OF else "undefined"
    if isinstance(value, int):
        return f"{value:,}"
    form = ".2f" if "top_10" in key and "percent" not in key else ".3f"
    return f"{value:{form}}" + (f" [{interval[0]:{form}}, {interval[1]:{form}}]" if interval else "")
