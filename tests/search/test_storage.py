"""Databases that restart, searchers that begin together, parents that die: nothing is lost, nothing outlives."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest

from pipeline.errors import PipelineError
from pipeline.search.evaluators import Scored
from pipeline.search.settings import SearchSettings
from pipeline.search.storage import Outage, open_storage, without_password
from pipeline.search.study import finished, remove_study, search, study_name
from pipeline.spaces.codes import Codes
from tests.search.postgres import Postgres
from tests.search.problems import MERIT, SMALL, costs_of
from tests.search.processes import nothing_lost_or_twice, start_worker, wait_for_lines
from tests.waiting import children_of, until

_SPACE = Codes(SMALL)


def _settings(subject: str, evaluations: int = 16) -> SearchSettings:
    return SearchSettings("random", evaluations, seed=3, subject=subject)


def test_two_searchers_begin_together_on_an_empty_database(postgres: Postgres, tmp_path: Path) -> None:
    """First in this module: it needs the database without tables."""
    settings = _settings("empty", 12)
    both = [start_worker(tmp_path / "judged", 0.05, settings, postgres.url, 5) for _ in range(2)]
    for searcher in both:
        searcher.join(90)
    assert [searcher.exitcode for searcher in both] == [0, 0]
    nothing_lost_or_twice(tmp_path / "judged", postgres.url, 12, killed=0, settings=settings)


def test_machines_share_a_database_and_take_over_from_a_dead_one(postgres: Postgres, tmp_path: Path) -> None:
    log, settings = tmp_path / "judged", _settings("shared")
    victim = start_worker(log, 0.3, settings, postgres.url, 1)
    wait_for_lines(log, 2)
    other = start_worker(log, 0.1, settings, postgres.url, 1)
    wait_for_lines(log, 5)
    os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join()
    other.join(90)
    assert other.exitcode == 0
    nothing_lost_or_twice(log, postgres.url, 16, killed=1, settings=settings)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_search_survives_a_restart_of_its_database(how: signal.Signals, postgres: Postgres, tmp_path: Path) -> None:
    log, settings = tmp_path / "judged", _settings(f"restart {how}", 14)
    searcher = start_worker(log, 0.1, settings, postgres.url, 1)
    wait_for_lines(log, 4)
    postgres.stop(how)
    time.sleep(1)
    postgres.start()
    searcher.join(90)
    assert searcher.exitcode == 0
    # The network in hand when the database went may be judged twice: this log has no memory, a run's scorer has.
    nothing_lost_or_twice(log, postgres.url, 14, killed=2, settings=settings)


def test_a_search_begins_while_a_known_database_restarts(postgres: Postgres, tmp_path: Path) -> None:
    settings = _settings("begins", 4)
    postgres.stop()
    later = threading.Timer(1.5, postgres.start)
    try:
        with pytest.raises(PipelineError, match="cannot open the study storage"):
            search(_SPACE, costs_of("40M"), MERIT, settings, postgres.url)
        later.start()
        result = search(_SPACE, costs_of("40M"), MERIT, settings, postgres.url, known_storage=True)
    finally:
        later.join()
    assert result.evaluations == 4


def _signed(sign: int, archs: Sequence[Any]) -> list[float]:
    return [sign * score for score in MERIT.score(archs)]


def test_runs_that_share_a_database_never_share_scores(postgres: Postgres) -> None:
    for subject, sign in (("one run", 1), ("another run", -1)):
        signed = Scored("table", partial(_signed, sign))
        result = search(_SPACE, costs_of("40M"), signed, _settings(subject, 5), postgres.url)
        assert result.evaluations == 5
        assert all(candidate.score * sign > 0 for candidate in result.candidates)


def test_a_search_in_a_database_can_be_done_again(postgres: Postgres) -> None:
    settings = _settings("again", 4)
    search(_SPACE, costs_of("40M"), MERIT, settings, postgres.url)
    remove_study(postgres.url, settings)
    assert finished(postgres.url, settings) == 0
    remove_study(postgres.url, settings)  # nothing there: nothing to do
    assert search(_SPACE, costs_of("40M"), MERIT, settings, postgres.url).evaluations == 4


def test_a_database_that_stays_away_is_one_line_without_the_password() -> None:
    outage = Outage("postgresql://me:secret@host/nas?password=secret", patience_s=0)
    with pytest.raises(PipelineError, match="out of reach for 0 s") as raised:
        while True:
            outage.wait(ConnectionError("secret refused"))
    assert "secret" not in str(raised.value)


def test_what_is_no_failure_of_the_storage_is_not_waited_for() -> None:
    with pytest.raises(KeyError):
        Outage("postgresql://host/nas").wait(KeyError("a mistake of ours"))


def test_a_journal_whose_folder_is_moved_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = threading.Event()

    def slow(archs: Sequence[Any]) -> list[float]:
        if not done.is_set():
            folder.rename(tmp_path / "elsewhere")
            done.set()
        return [1.0 for _ in archs]

    with pytest.raises(PipelineError, match=r"study .* is gone: its folder was moved"):
        search(_SPACE, costs_of("40M"), Scored("table", slow), _settings(""), folder / "study.log")


def test_a_worker_that_comes_late_does_not_make_a_moved_folder_again(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"study .* is gone: its folder was moved"):
        search(_SPACE, costs_of("40M"), MERIT, _settings(""), tmp_path / "gone" / "study.log", known_storage=True)
    assert not (tmp_path / "gone").exists()


def test_an_error_of_the_evaluator_is_not_taken_for_the_storages(tmp_path: Path) -> None:
    def broken(archs: Sequence[Any]) -> list[float]:
        raise OSError("an image that cannot be read")

    with pytest.raises(OSError, match="an image that cannot be read"):
        search(_SPACE, costs_of("40M"), Scored("table", broken), _settings(""), tmp_path / "study.log")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@127.0.0.1:1/nas",
        "postgresql://127.0.0.1:1/nas?user=me&password=secret",
        "nonsense://me:secret@host/nas",
    ],
)
def test_a_storage_that_cannot_be_opened_is_one_line_without_the_password(url: str) -> None:
    with pytest.raises(PipelineError, match=r"cannot open the study storage .*://") as raised:
        search(_SPACE, costs_of("40M"), MERIT, SearchSettings(), url)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "secret" not in without_password(url)


def test_a_study_of_an_older_version_goes_on(tmp_path: Path) -> None:
    study_file = tmp_path / "study.log"
    search(_SPACE, costs_of("40M"), MERIT, SearchSettings("random", 3), study_file)
    study = optuna.load_study(study_name="search", storage=open_storage(study_file))
    identity = {k: v for k, v in study.user_attrs["identity"].items() if k != "subject"}
    study.set_user_attr("identity", identity)
    settings = SearchSettings("random", 5, subject="now it is known")
    assert study_name(study_file, settings) == "search"
    assert search(_SPACE, costs_of("40M"), MERIT, settings, study_file).evaluations == 5


_PARENT = """
import signal, sys
from functools import partial
from pathlib import Path
from pipeline.search.evaluators import Scored
from pipeline.search.settings import SearchSettings
from pipeline.search.workers import search_with_workers
from tests.search.problems import logged_task

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command line does
    folder = Path(sys.argv[1])
    settings = SearchSettings("random", 400, workers=2)
    search_with_workers(partial(logged_task, folder / "judged", 0.1), settings, folder / "study.log")
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(how: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for_lines(tmp_path / "judged", 4)
        workers = [Path(f"/proc/{pid}") for pid in children_of(parent.pid)]
        assert len(workers) >= 2
        parent.send_signal(how)
        parent.wait(30)
        until(lambda: not any(worker.exists() for worker in workers), "end of the workers", 30)
    finally:
        parent.kill()
