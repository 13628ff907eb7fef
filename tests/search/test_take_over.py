"""Trials without a worker: whatever was in hand when a database, a worker or its machine went, is judged once."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from pipeline.errors import PipelineError
from pipeline.search.evaluators import Scored
from pipeline.search.results import SearchResult
from pipeline.search.settings import SearchSettings
from pipeline.search.storage import open_storage
from pipeline.search.study import STUDY_NAME, enqueue, search, study_name
from pipeline.spaces.codes import Codes
from tests.search.postgres import Postgres
from tests.search.problems import MERIT, SMALL, costs_of, merit
from tests.search.processes import start_worker, wait_for_lines
from tests.waiting import until

_SPACE = Codes(SMALL)
_FEW = "17M"  # so few networks are below it that a search judges all of them


def _settings(subject: str, evaluations: int = 400) -> SearchSettings:
    return SearchSettings("guided", evaluations, seed=3, subject=subject)


def _trail(result: SearchResult) -> list[str]:
    return [candidate.arch for candidate in sorted(result.candidates, key=lambda candidate: candidate.trial)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every network of the search, in the order of judging."""
    study = tmp_path_factory.mktemp("undisturbed") / "study.log"
    return _trail(search(_SPACE, costs_of(_FEW), MERIT, _settings(""), study))


def _moments(server: Postgres) -> dict[str, Callable[[pytest.MonkeyPatch], None]]:
    """How a database goes away for a moment, in each place where a search has no answer yet."""

    def away_at(method: str, call: int, before: bool) -> Callable[[pytest.MonkeyPatch], None]:
        def patch(monkeypatch: pytest.MonkeyPatch) -> None:
            original, calls = getattr(RDBStorage, method), iter(range(10_000))

            def interrupted(storage: Any, *args: Any, **more: Any) -> Any:
                goes = next(calls) == call
                if goes and before:
                    server.stop(signal.SIGQUIT)
                    threading.Timer(0.7, server.start).start()
                answer = original(storage, *args, **more)
                if goes:
                    server.stop(signal.SIGQUIT)
                    threading.Timer(0.7, server.start).start()
                    original(storage, *args, **more)
                return answer

            monkeypatch.setattr(RDBStorage, method, interrupted)

        return patch

    return {
        "taking a queued one": away_at("set_trial_state_values", 0, before=False),
        "beginning one": away_at("_create_new_trial", 2, before=False),
        "proposing": away_at("_set_trial_param", 3, before=True),
        "describing": away_at("set_trial_system_attr", 2, before=False),
        "telling": away_at("set_trial_state_values", 4, before=True),
        "told": away_at("set_trial_state_values", 4, before=False),
    }


@pytest.mark.parametrize(
    "moment",
    ["taking a queued one", "beginning one", "proposing", "describing", "telling", "told"],
)
def test_a_restart_at_any_moment_changes_nothing(
    moment: str,
    postgres: Postgres,
    undisturbed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    settings, costs = _settings(moment), costs_of(_FEW)
    first = [arch for arch in SMALL.enumerate() if str(arch) == undisturbed[0]]
    enqueue(_SPACE, costs, MERIT, settings, postgres.url, _SPACE.encode(first))
    _moments(postgres)[moment](monkeypatch)
    monkeypatch.setattr("pipeline.search.crew._UNSIGNED_S", 0.3)
    result = search(_SPACE, costs, MERIT, settings, postgres.url, heartbeat_s=1)
    assert _trail(result) == undisturbed
    assert not [warning for warning in recwarn if "already" in str(warning.message)]


def test_trials_that_dead_workers_had_only_taken_are_given_out_again(
    postgres: Postgres, undisturbed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a name and a heartbeat, as of a worker that was killed in the milliseconds after it took them."""
    settings, costs = _settings("only taken"), costs_of(_FEW)
    few = SearchSettings("guided", 3, seed=3, subject=settings.subject)
    search(_SPACE, costs, MERIT, few, postgres.url)
    last = [arch for arch in SMALL.enumerate() if str(arch) == undisturbed[-1]]
    enqueue(_SPACE, costs, MERIT, settings, postgres.url, _SPACE.encode(last))
    name = study_name(postgres.url, settings)
    study = optuna.load_study(study_name=name, storage=open_storage(postgres.url))
    study.ask()
    study.ask()
    assert not study.get_trials(states=(TrialState.WAITING,))
    monkeypatch.setattr("pipeline.search.crew._UNSIGNED_S", 0.3)
    result = search(_SPACE, costs, MERIT, settings, postgres.url)
    assert sorted(_trail(result)) == sorted(undisturbed)
    assert result.failed == 2


def test_a_worker_that_was_taken_for_dead_goes_on(tmp_path: Path, undisturbed: list[str]) -> None:
    """As after a machine's sleep: meanwhile others have failed its trial, to judge the network themselves."""
    calls = iter(range(100))

    def slept(archs: Sequence[Any]) -> list[float]:
        if next(calls) == 3:
            study = optuna.load_study(study_name=STUDY_NAME, storage=open_storage(tmp_path / "study.log"))
            (mine,) = study.get_trials(states=(TrialState.RUNNING,))
            study.tell(mine.number, state=TrialState.FAIL)
        return merit(archs)

    result = search(_SPACE, costs_of(_FEW), Scored("table", slept), _settings(""), tmp_path / "study.log")
    assert _trail(result) == undisturbed
    assert result.failed == 1


def test_a_search_waits_for_the_last_networks_of_a_space_and_takes_them_over(
    tmp_path: Path, undisturbed: list[str]
) -> None:
    log, journal = tmp_path / "judged", tmp_path / "study.log"
    victim = start_worker(log, 120, _settings(""), journal, 10, _FEW)
    until(lambda: journal.exists() and b"param_value_internal" in journal.read_bytes(), "network in hand")
    other = start_worker(log, 0, _settings(""), journal, 10, _FEW)
    wait_for_lines(log, len(undisturbed) - 1)
    until(lambda: TrialState.PRUNED in _states(journal), "look for one more")
    assert other.is_alive()
    os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join()
    other.join(60)
    assert other.exitcode == 0
    assert sorted(log.read_text().split()) == sorted(undisturbed)
    assert _states(journal).count(TrialState.PRUNED) == 1  # it looked once, and waited


def _states(journal: Path) -> list[TrialState]:
    study = optuna.load_study(study_name=STUDY_NAME, storage=open_storage(journal))
    return [trial.state for trial in study.get_trials(deepcopy=False)]


def test_a_score_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="is no number; higher is better"):
        search(
            _SPACE,
            costs_of("40M"),
            Scored("table", lambda archs: [float("nan")]),
            _settings(""),
            tmp_path / "study.log",
        )


def test_an_interrupt_while_a_result_is_written_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna's clean-up then raises an error of its own, and the search went on, or ended as with a fault of ours."""
    original, calls = optuna.storages.JournalStorage.set_trial_state_values, iter(range(10_000))

    def interrupted(storage: Any, *args: Any, **more: Any) -> Any:
        if next(calls) == 7:
            raise KeyboardInterrupt
        return original(storage, *args, **more)

    monkeypatch.setattr(optuna.storages.JournalStorage, "set_trial_state_values", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(_SPACE, costs_of(_FEW), MERIT, _settings("", 8), tmp_path / "study.log")
