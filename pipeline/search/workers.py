"""Several worker processes on one machine, all in the same study. Other machines join by the storage's URL."""

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final

from pipeline.errors import PipelineError
from pipeline.search.candidates import CandidateSpace
from pipeline.search.costs import Costs
from pipeline.search.evaluators import Evaluator
from pipeline.search.settings import SearchSettings
from pipeline.search.study import Progress, SearchResult, finished, search

_POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Task:
    """What one worker needs."""

    space: CandidateSpace
    costs: Costs
    evaluator: Evaluator


def search_with_workers(
    make: Callable[[], Task],
    settings: SearchSettings,
    storage: str | Path,
    progress: Progress | None = None,
    heartbeat_s: int = 10,
) -> SearchResult:
    """As `search`, by `settings.workers` processes. `make` is called in each of them, so it must be picklable.

    A worker that dies leaves its network to the others. Raises what a worker raised (PipelineError), or
    PipelineError where all of them died.
    """
    task = make()
    if settings.workers == 1:
        return search(task.space, task.costs, task.evaluator, settings, storage, progress, heartbeat_s)
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
    if finished(storage) == 0:
        codes = ", ".join(str(process.exitcode) for process, _ in workers)
        raise PipelineError(f"all {len(workers)} search workers died (exit codes {codes}); run the search again")
    # Every evaluation that is left, for example after the last worker died, is done here.
    alone = replace(settings, workers=1)
    return search(task.space, task.costs, task.evaluator, alone, storage, progress, heartbeat_s)


def _wait(
    workers: list[tuple[SpawnProcess, Connection]],
    settings: SearchSettings,
    storage: str | Path,
    progress: Progress | None,
) -> None:
    while any(process.is_alive() for process, _ in workers):
        for _, receiver in workers:
            if (message := _received(receiver)) is not None:
                raise PipelineError(message)
        if progress is not None:
            progress(min(finished(storage), settings.evaluations), settings.evaluations, "evaluations")
        time.sleep(_POLL_S)
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
    task = make()
    try:
        search(task.space, task.costs, task.evaluator, settings, storage, None, heartbeat_s)
    except PipelineError as error:
        sender.send(str(error))
