"""Several worker processes on one machine, all in the same study. Other machines join by the storage's URL."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final

from pipeline.errors import PipelineError
from pipeline.progress import Progress
from pipeline.search.candidates import CandidateSpace
from pipeline.search.costs import Costs
from pipeline.search.evaluators import Evaluator
from pipeline.search.results import Candidate, SearchResult
from pipeline.search.settings import SearchSettings
from pipeline.search.storage import Outage, prepare
from pipeline.search.study import finished, search

_POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Task:
    """What one worker needs."""

    space: CandidateSpace
    costs: Costs
    evaluator: Evaluator
    hear: Callable[[Candidate], None] | None = None  # of each network that the process has judged


def search_with_workers(
    make: Callable[[], Task],
    settings: SearchSettings,
    storage: str | Path,
    progress: Progress | None = None,
    heartbeat_s: int = 10,
    task: Task | None = None,
    known_storage: bool = False,
) -> SearchResult:
    """As `search`, by `settings.workers` processes. `make` is called in each of them, so it must be picklable; `task`
    is what it makes, where the caller has that already; `known_storage` as for `search`.

    A worker that dies leaves its network to the others. Raises what a worker raised (PipelineError), or
    PipelineError where all of them died.
    """
    task = make() if task is None else task
    if not known_storage:
        prepare(storage)
    if settings.workers == 1:
        return _searched(task, settings, storage, progress, heartbeat_s)
    task.costs.ensure_reachable()
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[SpawnProcess, Connection]] = []
    try:
        for _ in range(settings.workers):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(make, settings, storage, heartbeat_s, sender))
            process.start()
            sender.close()
            workers.append((process, receiver))
        _wait(workers, settings, storage, progress)
    finally:
        for process, _ in workers:
            process.terminate()
            process.join()
    if Outage(storage).through(partial(finished, storage, settings)) == 0:
        codes = ", ".join(str(process.exitcode) for process, _ in workers)
        raise PipelineError(f"all {len(workers)} search workers died (exit codes {codes}); run the search again")
    # Every evaluation that is left, for example after the last worker died, is done here.
    alone = replace(settings, workers=1)
    return _searched(task, alone, storage, progress, heartbeat_s)


def _searched(
    task: Task, settings: SearchSettings, storage: str | Path, progress: Progress | None, heartbeat_s: int
) -> SearchResult:
    """As `search`, in a storage that has answered before."""
    space, costs, evaluator = task.space, task.costs, task.evaluator
    return search(space, costs, evaluator, settings, storage, progress, heartbeat_s, hear=task.hear, known_storage=True)


def _wait(
    workers: list[tuple[SpawnProcess, Connection]],
    settings: SearchSettings,
    storage: str | Path,
    progress: Progress | None,
) -> None:
    outage, done = Outage(storage), 0
    while any(process.is_alive() for process, _ in workers):
        _raise_what_a_worker_said(workers)
        try:
            done = min(finished(storage, settings), settings.evaluations)
            outage.over()
        except Exception as error:
            outage.wait(error)
        if progress is not None:
            progress(done, settings.evaluations, _told(workers))
        time.sleep(_POLL_S)
    _raise_what_a_worker_said(workers)


def _told(workers: list[tuple[SpawnProcess, Connection]]) -> str:
    """What is going on, with the workers that died."""
    dead = [process.exitcode for process, _ in workers if process.exitcode]
    return "evaluations" + (f" ({len(dead)} of {len(workers)} workers died, exit code {dead[0]})" if dead else "")


def _raise_what_a_worker_said(workers: list[tuple[SpawnProcess, Connection]]) -> None:
    for _, receiver in workers:
        if (message := _received(receiver)) is not None:
            raise PipelineError(message)


def _received(receiver: Connection) -> str | None:
    try:
        return str(receiver.recv()) if receiver.poll() else None
    except EOFError:
        return None


def _work(
    make: Callable[[], Task], settings: SearchSettings, storage: str | Path, heartbeat_s: int, sender: Connection
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Ctrl-C reaches the whole group of processes; the parent then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        task = make()
        _searched(task, settings, storage, None, heartbeat_s)
    except PipelineError as error:
        sender.send(str(error))
    except Exception as error:  # the parent tells it in one line
        sender.send(f"a search worker failed: {type(error).__name__}: {error}")


def _end_with_parent() -> None:
    """Leave at once when the process that started this one is gone, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
