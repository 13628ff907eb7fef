"""Comparing methods: what is shown, what is not, and that nothing is judged twice."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.search.compare import compare, difference
from pipeline.search.evaluators import Remembered, Scored
from pipeline.search.workers import Task
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes
from tests.search.problems import MERIT, SMALL, costs_of, merit


def test_a_difference_is_shown_only_by_an_interval_without_zero() -> None:
    assert difference([97.0, 97.1, 96.9], [96.0, 96.1, 95.9]).verdict == "better"
    assert difference([95.0, 95.1], [96.0, 96.1, 95.9]).verdict == "worse"
    assert difference([96.0, 96.2, 95.9], [96.0, 96.1, 95.9]).verdict == "improvement not shown"
    assert difference([99.0], [96.0, 96.1, 95.9]).verdict == "improvement not shown"  # one seed tells nothing
    assert difference([97.0, 97.0], [96.0, 96.0]).value == pytest.approx(1.0)


def test_random_is_not_better_than_itself_and_guided_is(tmp_path: Path) -> None:
    task = Task(Codes(SMALL), costs_of("40M"), MERIT)
    comparison = compare(task, MERIT, ["random", "guided"], 5, 30, 12, tmp_path)
    guided, random = comparison.methods
    assert (guided.method, random.method) == ("guided", "random")
    assert guided.over_random_search is not None and guided.over_random_search.verdict == "better"
    assert guided.over_mean_random.verdict == "better"
    assert random.over_random_search is None
    mean = float(np.mean(comparison.random_scores))
    assert guided.relative_improvement_percent == pytest.approx(100 * (np.mean(guided.scores) - mean) / mean)
    document = comparison.to_document()
    assert document["random"]["n"] == 12
    assert document["methods"][0]["over_mean_random"]["verdict"] == "better"


def test_an_evaluator_of_noise_shows_no_improvement(tmp_path: Path) -> None:
    def noise(archs: Sequence[Architecture]) -> list[float]:
        return [float(np.random.default_rng(list(str(arch).encode())).normal(50)) for arch in archs]

    def other_noise(archs: Sequence[Architecture]) -> list[float]:
        return [float(np.random.default_rng([2, *str(arch).encode()]).normal(50)) for arch in archs]

    task = Task(Codes(SMALL), costs_of("40M"), Scored("table", noise))
    # Another judge than the one that was searched with: the best of 15 noisy scores is no better than any.
    (tpe,) = compare(task, Scored("table", other_noise), ["tpe"], 4, 15, 16, tmp_path).methods
    assert tpe.over_mean_random.verdict == "improvement not shown"


@pytest.mark.parametrize("methods", [[], ["random", "random"], ["random", "rea", "random"]])
def test_methods_are_named_and_once(tmp_path: Path, methods: list[str]) -> None:
    task = Task(Codes(SMALL), costs_of("40M"), Scored("table", merit))
    with pytest.raises(PipelineError, match="name one or more, each once, of"):
        compare(task, MERIT, methods, 1, 8, 8, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_comparison_that_continues_judges_nothing_again(tmp_path: Path) -> None:
    judged: list[str] = []

    def counted(archs: Sequence[Architecture]) -> list[float]:
        judged.extend(map(str, archs))
        return merit(archs)

    task = Task(Codes(SMALL), costs_of("40M"), Scored("table", counted))
    first = compare(task, MERIT, ["random", "rea"], 1, 8, 8, tmp_path)
    assert len(judged) == len(set(judged))
    before = len(judged)
    again = compare(task, MERIT, ["random", "rea"], 1, 8, 8, tmp_path)
    assert len(judged) == before
    assert again == first


def test_a_search_costs_what_it_would_alone(tmp_path: Path) -> None:
    def slow(archs: Sequence[Architecture]) -> list[float]:
        time.sleep(0.01 * len(archs))
        return merit(archs)

    task = Task(Codes(SMALL), costs_of("40M"), Scored("table", slow))
    # `random` and `rea` begin with the same networks, which are judged once and count twice.
    comparison = compare(task, MERIT, ["random", "rea"], 1, 15, 8, tmp_path)
    assert all(one.seconds >= 15 * 0.01 for one in comparison.methods)


def test_remembered_scores_survive_a_torn_line(tmp_path: Path) -> None:
    file = tmp_path / "scores.jsonl"
    arch = SMALL.min()
    assert Remembered(MERIT, file).evaluate([arch, arch]) == merit([arch, arch])
    with file.open("a") as stream:
        stream.write('{"arch": "r3')
    calls: list[int] = []

    def counted(archs: Sequence[Architecture]) -> list[float]:
        calls.append(len(archs))
        return merit(archs)

    again = Remembered(Scored("table", counted), file)
    assert again.evaluate([arch]) == merit([arch])
    assert not calls
    again.evaluate([SMALL.max()])  # written after the torn line, on a line of its own
    assert Remembered(Scored("table", counted), file).evaluate([SMALL.max()]) == merit([SMALL.max()])
    assert calls == [1]


def test_too_few_random_networks_or_an_unknown_method_are_refused(tmp_path: Path) -> None:
    task = Task(Codes(SMALL), costs_of("40M"), MERIT)
    with pytest.raises(PipelineError, match="at least 8 random networks"):
        compare(task, MERIT, ["random"], 1, 8, 7, tmp_path)
    with pytest.raises(PipelineError, match="'bohb' is unknown; known are guided"):
        compare(task, MERIT, ["bohb"], 1, 8, 8, tmp_path)
