"""Searches in processes of their own, to be killed, and what must hold after that."""

import multiprocessing
from pathlib import Path

import optuna

from pipeline.search.settings import SearchSettings
from pipeline.search.storage import open_storage
from pipeline.search.study import search, study_name
from tests.search.problems import logged_task
from tests.waiting import until


def _one_worker(
    log: Path, seconds: float, settings: SearchSettings, storage: str | Path, heartbeat_s: int, macs: str
) -> None:
    task = logged_task(log, seconds, macs)
    search(task.space, task.costs, task.evaluator, settings, storage, heartbeat_s=heartbeat_s)


def start_worker(
    log: Path, seconds: float, settings: SearchSettings, storage: str | Path, heartbeat_s: int, macs: str = "40M"
) -> multiprocessing.Process:
    """A process that searches the small space below `macs`; each evaluation takes `seconds`, and a line in `log`."""
    process = multiprocessing.get_context("spawn").Process(
        target=_one_worker, args=(log, seconds, settings, storage, heartbeat_s, macs)
    )
    process.start()
    return process  # type: ignore[return-value]


def wait_for_lines(log: Path, lines: int) -> list[str]:
    """The words in `log` once there are so many."""
    until(lambda: log.exists() and len(log.read_text().split()) >= lines, f"line {lines} of {log.name}")
    return log.read_text().split()


def nothing_lost_or_twice(
    log: Path, storage: str | Path, evaluations: int, killed: int, settings: SearchSettings | None = None
) -> None:
    """All evaluations are there, no network twice; each killed worker cost one more judging at most."""
    name = study_name(storage, settings or SearchSettings())
    study = optuna.load_study(study_name=name, storage=open_storage(storage))
    complete = [t for t in study.trials if t.state is optuna.trial.TrialState.COMPLETE]
    networks = [t.user_attrs["network"]["arch"] for t in complete]
    assert len(networks) == len(set(networks)) == evaluations
    judged = log.read_text().split()
    assert set(judged) >= set(networks)
    # A worker killed between judging and telling makes one network be judged again, at most.
    assert len(judged) <= evaluations + killed
