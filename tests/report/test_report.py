"""The report page: what it says, and that a real browser draws it without a network."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from latency_tables.blocks import EXAMPLE
from pipeline.report import figures
from pipeline.report.curves import curves_figure
from pipeline.report.data import BlockLatency, Point, ReportData, ShownWinner, front
from pipeline.report.page import render_report
from tests.report.chromium import browser, find_chromium
from tests.report.example import HOSTILE, example_report

PLOTS = ("front", "search", "curves", "blocks", "pairs", "ranks", "stages")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report(example_report()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium() -> str:
    command = find_chromium()
    if command is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    return command


def drawn_plots(page_file: Path, profile: Path, command: str, width: int, scheme: str) -> Iterator[dict[str, Any]]:
    """What a browser of this width made of the page."""
    with browser(command, profile) as page:
        page.open(page_file, width, 900, scheme)
        page.wait_for(f"document.querySelectorAll('.plot .main-svg').length >= {3 * len(PLOTS)}")
        yield {
            "problems": page.problems,
            "requests": page.requests,
            "overflow": page.ask(f"document.documentElement.scrollWidth - {width}"),
            "points": page.ask("document.querySelectorAll('#front .point').length"),
            "bars": page.ask("document.querySelectorAll('#blocks .point').length"),
            "background": page.ask("getComputedStyle(document.body).backgroundColor"),
            "images": page.ask("document.images.length"),
            "labels": page.ask("document.querySelector('#blocks').textContent"),
        }


@pytest.mark.parametrize(("width", "scheme", "light"), [(1280, "light", True), (390, "dark", False)])
def test_a_real_browser_draws_everything_without_a_network(
    chromium: str, page_file: Path, tmp_path: Path, width: int, scheme: str, light: bool
) -> None:
    seen = next(drawn_plots(page_file, tmp_path / "profile", chromium, width, scheme))
    assert seen["problems"] == []
    fetched = [address for address in seen["requests"] if not address.startswith("data:")]
    assert fetched == [page_file.resolve().as_uri()]
    data = example_report()
    judged = sum(trial.accuracy is not None for trial in data.tried)
    best = front(tuple(Point("", t.latency_ms, t.accuracy) for t in data.tried if t.accuracy is not None))
    # The winner is drawn twice: as itself, and with the ring around what is looked at.
    assert seen["points"] == judged + len(best) + len(data.random_points) + len(data.finalists) + 2
    assert seen["bars"] == len(data.blocks) + 1
    assert seen["overflow"] == 0  # nothing has to be scrolled sideways on a phone
    assert data.answers is not None
    assert seen["images"] == len(data.answers.mistakes)  # hostile text stayed text
    assert (seen["background"] == "rgb(246, 247, 249)") is light


class _References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]


def test_the_page_refers_to_nothing_outside(page_file: Path) -> None:
    references = _References()
    references.feed(page_file.read_text(encoding="utf-8"))
    assert references.found
    assert all(reference.startswith(("#", "data:,", "data:image/png;base64,")) for reference in references.found)


def test_the_plotting_library_is_inside_once(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    assert len(re.findall(r"plotly\.js v\d", text)) == 1
    assert len(text) < 6_000_000


def test_what_the_page_says(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    data = example_report()
    told = (data.winner.arch, "98.70%", "gate: passed", "not run", "no GPU here", "2.512M MACs", "failed</span> (w")
    assert "95 % took 0.95 to 1.07 times what was predicted" in text
    for words in told:
        assert words in text
    assert HOSTILE not in text


def test_every_figure_is_one_that_plotly_knows() -> None:
    data = example_report()
    drawn = (
        figures.front_figure(data),
        figures.search_figure(data.tried),
        curves_figure(data.curves),
        figures.blocks_figure(data.blocks, data.fixed_ms),
        figures.pairs_figure(data.pairs),
        figures.ranks_figure(data.ranks),
        figures.stages_figure(data.stages),
    )
    for figure in drawn:
        assert figure is not None
        go.Figure(_with_colours(figure))  # raises for a property or value that Plotly does not have


def _with_colours(value: object) -> object:
    if isinstance(value, str) and value.startswith("$"):
        return "#123456"
    if isinstance(value, dict):
        return {key: _with_colours(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_with_colours(entry) for entry in value]
    return value


def test_a_run_with_nothing_to_show_still_has_a_page() -> None:
    winner = ShownWinner("r16", 0.5, 10, 10, 1.0)
    text = render_report(ReportData("Empty", "none", "none", winner, {}))
    for words in ("No network was judged.", "The search tried nothing.", "Nothing was exported.", "gate has not run"):
        assert words in text
    assert "gate: not run" in text


def test_one_network_and_no_time_are_drawn() -> None:
    data = example_report()
    blocks = (BlockLatency("all", 0.0, 0),)
    tiny = replace(data, tried=data.tried[:1], blocks=blocks, fixed_ms=0.0, pairs=data.pairs[:1])
    assert render_report(tiny)


def test_the_front_is_what_nothing_beats() -> None:
    points = (Point("a", 1, 0.5), Point("b", 2, 0.4), Point("c", 2, 0.7), Point("d", 3, 0.7))
    assert [point.name for point in front(points)] == ["a", "c"]


def test_blocks_have_short_names() -> None:
    assert BlockLatency(EXAMPLE.key, 1.0, 1).label == "mbconv 3×3 e4 16→24 @112/2"
    assert BlockLatency("anything", 1.0, 1).label == "anything"
