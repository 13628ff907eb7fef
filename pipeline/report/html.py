"""Pieces of the page as HTML. Whatever is given as text is escaped; what is given as HTML says so."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Collection, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from pipeline import foreign


def asset(name: str) -> str:
    """A style sheet or script that lies beside this module."""
    return (files("pipeline.report") / "assets" / name).read_text(encoding="utf-8")


def text(value: str) -> str:
    """Text from elsewhere, such as a class's name: one line in which every character shows, and no markup."""
    return escape(foreign.visible(value))


def code(value: str) -> str:
    """Text as it would be typed."""
    return f"<code>{text(value)}</code>"


def section(name: str, title: str, body: str) -> str:
    """A part of the page that links lead to by `name`; `body` is HTML."""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{body}</section>'


def figure_section(name: str, title: str, words: str, drawn: dict[str, Any], below: str = "") -> str:
    """A plot of `drawn` with what it shows in words, or the words alone where there is none; `below` is HTML."""
    if name not in drawn:
        missing = escape(words or "Nothing was recorded.")
        return section(f"{name}-section", title, f'<p class="note">{missing}</p>{below}')
    height = drawn[name]["layout"]["height"]
    caption = f"<figcaption><p>{escape(words)}</p></figcaption>" if words else ""
    plot = f'<div class="plot" id="{name}" role="img" aria-label="{escape(title)}" style="height:{height}px"></div>'
    return section(f"{name}-section", title, f"<figure>{caption}{plot}</figure>{below}")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[int], narrow: bool = False) -> str:
    """A table of cells that are HTML already; on a phone each row becomes a small card, unless the table is narrow."""
    kind = [' class="n"' if index in numbers else "" for index in range(len(heads))]
    head = "".join(f"<th{k}>{escape(h)}</th>" for k, h in zip(kind, heads, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f'<td{k} data-label="{escape(h)}">{cell}</td>' for k, h, cell in zip(kind, heads, row, strict=True))
        + "</tr>"
        for row in rows
    )
    kept = "" if narrow else ' class="stack"'
    return f'<div class="scroll"><table{kept}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def json_in_html(document: object) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(document, allow_nan=False).replace("<", "\\u003c")


def policy(scripts: Sequence[str]) -> str:
    """A content security policy under which exactly these scripts run, and nothing is fetched or sent."""
    hashes = " ".join(f"'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts)
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"
