"""What a command prints: one JSON document, or a table for people; notes go to stderr."""

import json
import sys
from collections.abc import Callable
from typing import Any, Final

from rich.console import Console

from pipeline import foreign

_LOG_COLUMNS: Final = 120
_LINE_ENDS: Final = {code: f"\\u{code:04x}" for code in (0x7F, *range(0x80, 0xA0), 0x2028, 0x2029)}


def emit(document: Any, as_json: bool, render: Callable[[Console], None]) -> None:
    """Print `document` as the only thing on stdout, or let `render` draw it for a person."""
    if as_json:
        text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        # JSON's own escapes for names that are no UTF-8, other ends of lines, and what a CI runner would take for a
        # command.
        text = text.encode("utf-8", "backslashreplace").decode().translate(_LINE_ENDS).replace("##[", "##\\u005b")
        sys.stdout.write(text + "\n")
    else:
        console = Console()
        # A log has no width; rich would fold tables into 80 columns.
        render(console if console.is_terminal else Console(width=max(console.width, _LOG_COLUMNS)))


def example(words: str) -> str:
    """The last line of a command's help; `words` follow the program's name."""
    return f"Example: pocketnas {words}"


def note(text: str) -> None:
    """One line for the person, on stderr; beside a bar its own `note` tells."""
    Console(stderr=True, highlight=False).print(foreign.terminal(text), soft_wrap=True, markup=False)
