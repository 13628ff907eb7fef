"""Every help text: nothing of it is eaten by markup, and its example is a command that exists."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli.app import app


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that is no group, with its name."""
    if not hasattr(command, "commands"):
        yield words, command
        return
    for name, inner in command.commands.items():
        yield from leaves(inner, (*words, name))


COMMANDS = dict(leaves(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_shows_all_of_its_text_and_an_example_that_exists(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "250", "TERMINAL_WIDTH": "250"}).output
    texts = [command.help, *(parameter.help for parameter in command.params)]
    for text in texts:
        assert text, f"{words}: a parameter without help"
        lost = [word for word in text.replace("\\[", "[").split() if word not in shown]
        assert not lost, f"{words}: {lost} of {text!r} is not shown"
    assert "default: []" not in shown
    program, *example = shlex.split(command.epilog.removeprefix("Example: "))
    assert program == "pocketnas" and tuple(example[: len(words)]) == words
    command.make_context(" ".join(words), example[len(words) :])
    assert command.epilog in shown


def test_the_first_help_groups_commands_by_what_people_do() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120", "TERMINAL_WIDTH": "120"}).output
    places = [shown.index(f" {panel} ") for panel in ("Start here", "Measure devices", "Search, stage", "Check in CI")]
    assert places == sorted(places)
    assert {words[0] for words in COMMANDS} <= set(shown.split())
