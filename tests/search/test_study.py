"""A search as a user meets it: limits, objectives, resuming, several workers, several machines."""

import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import optuna
import pytest

from pipeline.errors import InfeasibleBudget, PipelineError
from pipeline.search.candidates import CodeArray
from pipeline.search.crew import JournalCrew
from pipeline.search.evaluators import Scored
from pipeline.search.results import SearchResult
from pipeline.search.settings import METHODS, Method, SearchSettings
from pipeline.search.storage import open_storage
from pipeline.search.study import STUDY_NAME, search
from pipeline.search.workers import search_with_workers
from pipeline.spaces.codes import Codes
from tests.search.problems import MERIT, SMALL, costs_of, failing_task, logged_task
from tests.search.processes import nothing_lost_or_twice, start_worker, wait_for_lines
from tests.waiting import until

_SPACE = Codes(SMALL)


def _search(path: Path, evaluations: int = 25, method: Method = "guided", **more: object) -> SearchResult:
    settings = SearchSettings(method, evaluations, seed=3, **more)  # type: ignore[arg-type]
    return search(_SPACE, costs_of("40M"), MERIT, settings, path)


def _trail(result: SearchResult) -> list[tuple[str, float]]:
    """What was judged, in the order of judging."""
    return [(c.arch, c.score) for c in sorted(result.candidates, key=lambda c: c.trial)]


def test_the_best_comes_first_with_its_costs(tmp_path: Path) -> None:
    result = _search(tmp_path / "study.log")
    scores = [candidate.score for candidate in result.candidates]
    assert scores == sorted(scores, reverse=True)
    assert result.evaluations == 25
    best = result.best
    (arch,) = [a for a in SMALL.enumerate() if str(a) == best.arch]
    assert best.costs["macs"] == sum(block.macs for block in SMALL.blocks(arch)) <= 40e6
    assert best.costs["size_mb"] == pytest.approx(best.costs["params"] * 4 / 1e6)
    assert 0.1 < result.feasible_share < 0.2  # 502 of 3,969


def test_a_dashboard_reads_the_study(tmp_path: Path) -> None:
    _search(tmp_path / "study.log", 6)
    study = optuna.load_study(study_name=STUDY_NAME, storage=open_storage(tmp_path / "study.log"))
    assert study.best_trial.user_attrs["network"]["fidelity"] == "table"
    (constraint,) = [v for k, v in study.best_trial.system_attrs.items() if k.endswith("macs")]
    assert constraint == pytest.approx(study.best_trial.user_attrs["network"]["costs"]["macs"] / 40e6 - 1)


@pytest.mark.parametrize("method", ["guided", "nsga2"])
def test_a_front_trades_score_for_cost(method: Method, tmp_path: Path) -> None:
    result = _search(tmp_path / "study.log", 40, method, objective="front")
    macs = [candidate.costs["macs"] for candidate in result.front]
    scores = [candidate.score for candidate in result.front]
    assert macs == sorted(macs)
    assert scores == sorted(scores)
    assert len(result.front) >= 4
    assert all(
        any(f.score >= c.score and f.costs["macs"] <= c.costs["macs"] for f in result.front) for c in result.candidates
    )


def test_an_infeasible_budget_ends_at_once_with_the_nearest_network(tmp_path: Path) -> None:
    with pytest.raises(InfeasibleBudget, match=r"macs <= 1e\+06: the least is macs 7.71328e\+06, reached by r32"):
        search(_SPACE, costs_of("1M"), MERIT, SearchSettings(), tmp_path / "study.log")
    assert not (tmp_path / "study.log").exists()


def test_a_space_with_fewer_networks_than_evaluations_is_judged_whole(tmp_path: Path) -> None:
    costs = costs_of("12M")
    assert 0 < (count := int(costs.feasible(_all_codes()).sum())) < 30
    result = search(_SPACE, costs, MERIT, SearchSettings(evaluations=50), tmp_path / "study.log")
    assert result.exhausted
    assert result.evaluations == count


def _all_codes() -> CodeArray:
    return _SPACE.encode(SMALL.enumerate())


@pytest.mark.parametrize("method", METHODS)
def test_a_search_stopped_and_continued_judges_what_an_uninterrupted_one_does(method: Method, tmp_path: Path) -> None:
    whole = _search(tmp_path / "whole.log", 24, method)
    _search(tmp_path / "halves.log", 13, method)
    halves = _search(tmp_path / "halves.log", 24, method)
    assert _trail(halves) == _trail(whole)


def test_a_study_is_not_continued_for_another_search(tmp_path: Path) -> None:
    _search(tmp_path / "study.log", 3)
    with pytest.raises(
        PipelineError, match=r"was begun with limits \{'macs': 40000000.0\}, not \{'macs': 50000000.0\}"
    ):
        search(_SPACE, costs_of("50M"), MERIT, SearchSettings(evaluations=5, seed=3), tmp_path / "study.log")
    with pytest.raises(PipelineError, match="fidelity 'table', not 'inherited'"):
        inherited = Scored("inherited", MERIT.score)
        search(_SPACE, costs_of("40M"), inherited, SearchSettings(evaluations=5, seed=3), tmp_path / "study.log")


def test_an_evaluator_that_fails_does_not_cost_the_network(tmp_path: Path) -> None:
    calls = 0

    def sometimes(archs):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls == 4:
            raise PipelineError("out of memory")
        return MERIT.evaluate(archs)

    settings = SearchSettings(evaluations=8, seed=3)
    with pytest.raises(PipelineError, match="out of memory"):
        search(_SPACE, costs_of("40M"), Scored("table", sometimes), settings, tmp_path / "study.log")
    result = search(_SPACE, costs_of("40M"), Scored("table", sometimes), settings, tmp_path / "study.log")
    assert result.failed == 1
    assert [arch for arch, _ in _trail(result)] == [arch for arch, _ in _trail(_search(tmp_path / "other.log", 8))]


def test_a_line_that_a_crash_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    _search(path, 5)
    with path.open("ab") as stream:
        stream.write(b'{"op_code": 6, "worker')
    assert _search(path, 7).evaluations == 7


@pytest.mark.parametrize(
    "content",
    [b"my notes\n", b"SQLite format 3\0\1\2\3", b'{"a": 1}\n', b"[]\n", bytes(range(256))],
    ids=["text", "sqlite", "json", "list", "binary"],
)
def test_a_file_that_is_no_journal_is_named_and_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=r"the study .*study\.log is no Optuna journal; move it away"):
        _search(path, 5)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "damage", [b"#!@\n", b'{"op_code":99,"worker_id":"x"}\n', b'{"op_code":0}\n', b"\0\0\0\0\n", b"3\n"]
)
def test_a_damaged_journal_is_named(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    _search(path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], damage, *lines[4:]]))
    with pytest.raises(PipelineError, match=r"the study .*study\.log is damaged \(.*\); move it away") as raised:
        _search(path, 5)
    assert "\n" not in str(raised.value)


def test_a_journal_of_another_program_is_not_continued(tmp_path: Path) -> None:
    study = optuna.create_study(study_name=STUDY_NAME, storage=open_storage(tmp_path / "study.log"))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(PipelineError, match="has trials of something else than a search"):
        _search(tmp_path / "study.log", 5)


def test_evaluators_that_do_not_answer_are_refused() -> None:
    with pytest.raises(PipelineError, match="0 scores for 1 networks"):
        Scored("table", lambda archs: []).evaluate(["r32"])
    with pytest.raises(PipelineError, match="fidelity 'guess' is unknown; known are inherited"):
        Scored("guess", lambda archs: [])


# -- killed and shared searches -----------------------------------------------------------------------


def test_a_killed_search_continues_with_the_same_result(tmp_path: Path) -> None:
    settings = SearchSettings("guided", 20, seed=3)
    victim = start_worker(tmp_path / "judged", 0.05, settings, tmp_path / "study.log", 10)
    wait_for_lines(tmp_path / "judged", 7)
    os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join()
    resumed = _search(tmp_path / "study.log", 20)
    assert resumed.evaluations == 20
    whole = _trail(_search(tmp_path / "whole.log", 20))
    assert _trail(resumed) == whole


def test_workers_share_a_study_and_take_over_from_a_killed_one(tmp_path: Path) -> None:
    log, study = tmp_path / "judged", tmp_path / "study.log"
    settings = SearchSettings("rea", 30, seed=3)
    victim = start_worker(log, 0.1, settings, study, 10)
    wait_for_lines(log, 3)
    other = start_worker(log, 0.1, settings, study, 10)
    wait_for_lines(log, 8)
    os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join()
    other.join(60)
    assert other.exitcode == 0
    nothing_lost_or_twice(log, study, 30, killed=1)


def trials_of(study: Path) -> int:
    return len(optuna.load_study(study_name=STUDY_NAME, storage=open_storage(study)).trials)


def _die_proposing(study: Path, begun: Path) -> None:
    crew = JournalCrew(study)
    with crew.present():
        crew.sign(optuna.load_study(study_name=STUDY_NAME, storage=open_storage(study)).ask())
        begun.write_text("begun")
        until(lambda: trials_of(study) > 4, "other worker that waits for this one")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_before_it_says_what_it_wants_holds_nobody_up(tmp_path: Path) -> None:
    _search(tmp_path / "study.log", 3, "random")
    victim = multiprocessing.get_context("spawn").Process(
        target=_die_proposing, args=(tmp_path / "study.log", tmp_path / "begun")
    )
    victim.start()
    wait_for_lines(tmp_path / "begun", 1)
    began = time.monotonic()
    assert _search(tmp_path / "study.log", 6, "random").evaluations == 6
    assert time.monotonic() - began < 45  # a minute is the patience with a silent living one
    victim.join()


def test_the_workers_option_starts_processes(tmp_path: Path) -> None:
    log, study = tmp_path / "judged", tmp_path / "study.log"
    settings = SearchSettings("tpe", 24, seed=0, workers=2)
    steps: list[int] = []
    result = search_with_workers(
        partial(logged_task, log, 0.05), settings, study, lambda done, total, what: steps.append(done)
    )
    assert result.evaluations == 24
    assert steps[-1] == 24
    nothing_lost_or_twice(log, study, 24, killed=0)


def test_what_a_worker_objects_to_is_said_by_the_parent(tmp_path: Path) -> None:
    settings = SearchSettings("random", 24, workers=2)
    with pytest.raises(PipelineError, match="no weights for this region"):
        search_with_workers(partial(failing_task, "no weights for this region"), settings, tmp_path / "study.log")
