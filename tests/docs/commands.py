"""The fenced blocks of a Markdown page and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block: its language, its text, and the mark in a comment before it ("run", "file: NAME", or "")."""

    kind: str
    text: str
    mark: str


def fences(page: Path) -> list[Fence]:
    """All fenced blocks of a page, in order."""
    found = _FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Fence(match["kind"], match["text"], match["mark"] or "") for match in found]


def pocketnas_commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every `pocketnas` in the shell blocks of a page; continued lines are joined."""
    for fence in fences(page):
        if fence.kind in ("", "sh", "bash", "console"):
            for line in fence.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0].rsplit("/", 1)[-1] == "pocketnas":
                    yield words[1:]
