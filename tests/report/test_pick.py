"""A person looks at one network of the front after the other, with the mouse or the keyboard, in a real browser."""

from collections.abc import Iterator

import pytest

from pipeline.report.data import Networks, Pickable
from pipeline.report.page import render_report
from tests.report.chromium import Page, browser, find_chromium
from tests.report.example import example_report

WIDTHS = [1200, 390]


@pytest.fixture(scope="module", params=WIDTHS)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    command = find_chromium()
    if command is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    folder = tmp_path_factory.mktemp("pick")
    file = folder / "report.html"
    file.write_text(render_report(example_report()), encoding="utf-8")
    with browser(command, folder / "profile") as opened:
        opened.open(file, request.param, 900)
        opened.wait_for("document.querySelectorAll('#pick-shown li').length")
        yield opened


def _networks() -> Networks:
    networks = example_report().networks
    assert networks is not None
    return networks


def _front() -> list[Pickable]:
    return [network for network in _networks().networks if network.on_front]


def _shown(page: Page) -> str:
    return str(page.ask("document.getElementById('pick-shown').textContent"))


def _is_shown(page: Page, network: Pickable) -> None:
    text, known = _shown(page), _networks()
    assert text.startswith(network.name)
    assert network.command in text
    assert page.ask("document.querySelectorAll('#pick-shown li').length") == len(network.blocks) + 1
    times = [float(known.kinds[kind].ms) for kind in network.blocks] + [known.fixed_ms]
    drawn = page.ask("[...document.querySelectorAll('#pick-shown .bar')].map(e => parseFloat(e.style.width))")
    assert drawn == pytest.approx([100 * ms / max(times) for ms in times], rel=1e-3)
    assert page.ask("document.getElementById('front').data.slice(-1)[0].x[0]") == network.latency_ms
    assert page.ask("document.documentElement.scrollWidth") in WIDTHS  # nothing is wider than the page
    assert page.problems == []


def test_it_begins_with_the_winner(page: Page) -> None:
    assert _shown(page).startswith(example_report().winner.arch)
    assert "The run built this one" in _shown(page)


def test_the_list_offers_the_front_and_takes_keys(page: Page) -> None:
    offered = page.ask("[...document.getElementById('pick-network').options].map(o => Number(o.value))")
    networks, winner = _networks().networks, example_report().winner.arch
    assert offered == [n for n, network in enumerate(networks) if network.on_front or network.name == winner]
    page.ask("document.getElementById('pick-network').focus()")
    page.ask("document.getElementById('pick-network').selectedIndex = 1")
    for kind in ("keyDown", "keyUp"):  # the key moves from the second to the first
        page.call("Input.dispatchKeyEvent", type=kind, key="ArrowUp", code="ArrowUp", windowsVirtualKeyCode=38)
    page.wait_for(f"document.getElementById('pick-shown').textContent.startsWith({_front()[0].name!r})")
    _is_shown(page, _front()[0])


def test_a_click_on_any_point_shows_it(page: Page) -> None:
    best = {network.name for network in _front()}
    other = next(network for network in _networks().networks if network.name not in best)
    for network in (_front()[2], other):
        page.ask("document.getElementById('front').scrollIntoView()")
        x, y = page.ask(
            "(() => { const plot = document.getElementById('front'), box = plot.getBoundingClientRect(),"
            " x = plot._fullLayout.xaxis, y = plot._fullLayout.yaxis;"
            f" return [box.left + x._offset + x.c2p({network.latency_ms}),"
            f" box.top + y._offset + y.c2p({network.accuracy})]; }})()"
        )
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        page.wait_for(f"(document.getElementById('front')._hoverdata || [{{}}])[0].text === {network.name!r}", 10)
        for kind in ("mousePressed", "mouseReleased"):
            page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        page.wait_for(f"document.getElementById('pick-shown').textContent.startsWith({network.name!r})", 10)
        _is_shown(page, network)
    assert page.ask("document.getElementById('pick-network').selectedOptions[0].id") == "pick-other"


def test_it_stays_chosen_when_the_colours_change(page: Page) -> None:
    before = _shown(page)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page.wait_for("getComputedStyle(document.body).backgroundColor === 'rgb(15, 20, 26)'")
    chosen = page.ask("document.getElementById('front').data.slice(-1)[0].text[0]")
    assert _shown(page) == before and before.startswith(chosen)
