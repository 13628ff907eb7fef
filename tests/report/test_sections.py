"""What the page says of answers, of what was compared, and of what to do next."""

import shlex
from dataclasses import replace

import numpy as np
import pytest
import typer

from pipeline.cli.app import app
from pipeline.errors import PipelineError
from pipeline.ranking.proportion import wilson_interval
from pipeline.report.answers import MOST_CLASSES, answers_section, class_rows
from pipeline.report.data import Answers, RandomBaseline, ReportData, ShownWinner
from pipeline.report.next_steps import build_command, next_steps
from pipeline.report.page import render_report
from pipeline.report.story import story_section
from pipeline.report.words import front_words
from tests.report.example import HOSTILE, example_report


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    # Newcombe 1998, table I, method 3 (Wilson's score without continuity correction)
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share_is_that_of_the_literature(right: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(n - right, n) == pytest.approx((1 - high, 1 - low), abs=5e-5)


@pytest.mark.parametrize(("right", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_a_share_of_nothing_is_refused(right: int, n: int) -> None:
    with pytest.raises(PipelineError, match="say nothing about a share"):
        wilson_interval(right, n)


def test_classes_stand_by_their_accuracy() -> None:
    confusion = np.array([[8, 2, 0], [5, 5, 0], [0, 0, 0]])
    answers = Answers(("cat", "dog", "owl"), confusion)
    assert class_rows(answers) == [("dog", 10, 5), ("cat", 10, 8), ("owl", 0, 0)]
    page = answers_section(answers)
    assert "7 of 20 test images" in page and "Class dog has the lowest accuracy: 5 of 10 right" in page
    assert page.count("<td class") == 9 + 3 * 3 and "no image" in page


def test_many_classes_are_told_by_their_confusions_alone() -> None:
    count = 1000
    confusion = np.diag(np.full(count, 9))
    confusion[7, 3] = 4
    page = answers_section(Answers(tuple(f"class {n}" for n in range(count)), confusion))
    assert 'class="confusion"' not in page and len(page) < 20_000
    assert f"the lowest {MOST_CLASSES} of 1000" in page
    assert "<td" in page and page.index("What is mistaken most") < page.rindex("class 7") < page.rindex("class 3")


def test_names_of_classes_are_text_everywhere() -> None:
    page = render_report(example_report())
    for harmful in (HOSTILE, "\u202e", "evil\n9"):
        assert harmful not in page
    assert "neun\\u202eevil\\n9" in page


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(1.0, 3.0, "was worth it"), (-1.0, 3.0, "is not shown"), (-3.0, -1.0, "is worse than these")],
)
def test_the_comparison_is_told_as_it_is(low: float, high: float, told: str) -> None:
    data = replace(example_report(), baseline=RandomBaseline((0.9, 0.92), (low + high) / 2, low, high))
    assert told in story_section(data)


def test_a_winner_that_was_trained_on_is_compared_where_it_was_not_yet() -> None:
    baseline = RandomBaseline((0.9, 0.92), 2.2, 1.0, 3.0, compared_accuracy=0.93)
    data = replace(example_report(), baseline=baseline)
    assert "After as long a training the one found had 93.0%" in story_section(data)
    assert "as long as the winner until it had 93.0%" in front_words(data)
    assert "as the winner was" in front_words(example_report())


def test_a_run_without_any_of_it() -> None:
    data = ReportData("Empty", "none", "none", ShownWinner("r16", 0.5, 10, 10, 1.0), {})
    assert "before answers were kept" in answers_section(None)
    assert next_steps(data) == []
    assert "not compared with random networks" in story_section(data)


def test_every_command_that_the_page_shows_exists() -> None:
    data = example_report()
    shown = [command for step in next_steps(data) for command in step.commands]
    shown += [network.command for network in (data.networks.networks if data.networks else ()) if network.command][:1]
    missed = replace(data, checks=tuple(replace(check, status="failed") for check in data.checks))
    shown += [command for step in next_steps(missed) for command in step.commands]
    group = typer.main.get_command(app)
    assert len(shown) > 8
    for command in shown:
        program, name, *arguments = shlex.split(command)
        assert program == "pocketnas"
        found = group.get_command(None, name)  # type: ignore[attr-defined]
        found.make_context(name, arguments)
    page = render_report(data)
    assert all(command.replace("'", "&#x27;") in page for step in next_steps(data) for command in step.commands)


def test_commands_survive_any_folder() -> None:
    words = shlex.split(build_command("runs/it's; rm -rf $HOME/", "r16_w8", 1.234))
    assert words[:4] == ["pocketnas", "specialise", "runs/it's; rm -rf $HOME/", "--out"]
    assert words[4:] == ["runs/it's; rm -rf $HOME-1.23ms", "--arch", "r16_w8"]
