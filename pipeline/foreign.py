"""Text from elsewhere (names of files, operators and devices, messages of libraries) for each place it is shown in.

A pull request chooses such text, so each place has one function that leaves nothing of it but text: no control
characters, no workflow commands, no markup, no mentions.
"""

import re
import unicodedata
from typing import Final

_ZERO_WIDTH: Final = "\u200b"
# What GitHub and GitLab make links or notifications of: @name, #12, GH-12, !12, www., ://, name@host, :emoji:
_LIVE: Final = re.compile(r"(@|#(?=\w)|\bGH(?=-)|!(?=\d)|\bwww(?=\.)|:(?=//))", re.IGNORECASE)
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]|~$])")


def visible(text: str) -> str:
    r"""One line in which every character shows: control, direction and broken ones are written as \x1b, \u202e."""
    return "".join(c if _shows(c) else _escaped(c) for c in text)


def terminal(text: str) -> str:
    """For a terminal or a log, where `::` or `##[` at the right place would command a CI runner."""
    return visible(text).replace("::", ": :").replace("##[", "## [")


def workflow(text: str, property_value: bool = False) -> str:
    """For the data, or a property, of one of GitHub's workflow commands."""
    text = visible(text).replace("%", "%25")
    return text.replace(":", "%3A").replace(",", "%2C") if property_value else text


def markdown(text: str) -> str:
    """For a sentence or a table's cell in Markdown: nothing formats, links, notifies or ends the cell."""
    text = _MARKUP.sub(r"\\\1", visible(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LIVE.sub(rf"\1{_ZERO_WIDTH}", text)


def xml(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold; whoever builds the tree escapes its signs."""
    return visible(text)


def _shows(character: str) -> bool:
    # Cc control, Cf format (direction, joiners), Cs half a pair, Co private, Zl and Zp lines and paragraphs.
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(
        character, f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )
