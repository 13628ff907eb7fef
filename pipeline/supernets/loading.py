"""Work that other processes do ahead of who needs it: reading, decoding and augmenting the images of coming steps."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import torch

from pipeline.errors import PipelineError, first_line

T = TypeVar("T")
_MOST: Final = 8  # processes, of which each keeps up to two results ahead
_AHEAD: Final = 2
_SHARED = Path("/dev/shm")  # where Linux keeps what processes hand to each other; small in containers


@dataclass(frozen=True, slots=True)
class _Failure:
    """What went wrong in another process, as one line."""

    said: str


class _Jobs(Generic[T]):
    """A job by its number, as torch's loader asks for it."""

    def __init__(self, job: Callable[[int], T]) -> None:
        self._job = job

    def __getitem__(self, number: int) -> "T | _Failure":
        try:
            return self._job(number)
        except PipelineError as error:
            return _Failure(str(error))


def ahead(job: Callable[[int], T], numbers: Sequence[int], workers: int) -> Iterator[T]:
    """`job(number)` for each of `numbers`, in their order, done by `workers` processes before it is asked for.

    With 0 workers, here and when asked for. Raises the PipelineError that the job raises, and one where a process
    was killed. Closing the iterator ends the processes.
    """
    if not workers or len(numbers) < 2:
        yield from map(job, numbers)
        return
    from torch.utils.data import DataLoader

    loader: DataLoader[Any] = DataLoader(
        _Jobs(job),  # type: ignore[arg-type]  # it asks for no more than __getitem__ where it has a sampler
        batch_size=None,
        sampler=numbers,
        num_workers=min(workers, len(numbers)),
        prefetch_factor=_AHEAD,
        collate_fn=_unchanged,
        generator=torch.Generator(),  # else it would draw from the one that all share
    )
    results = iter(loader)
    try:
        with readers_stay():
            for found in results:
                if isinstance(found, _Failure):
                    raise PipelineError(found.said)
                yield found
    finally:
        del results


@contextlib.contextmanager
def readers_stay() -> Iterator[None]:
    """PipelineError where a process that reads images was killed: torch raises that wherever this one is then."""
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and "DataLoader worker (pid" not in str(error):
            raise  # the job's own
        raise PipelineError(f"a process that reads images has gone: {first_line(error)}") from None


def workers_for(result_bytes: int) -> int:
    """How many processes read ahead for this one, where each result has so many bytes.

    One for each processor that it may use, up to 8, and as many as shared memory holds the results of.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    wanted = max(1, min(_MOST, processors // beside))
    if not _SHARED.is_dir():
        return wanted
    room = shutil.disk_usage(_SHARED).free // (2 * beside)
    return min(wanted, room // (result_bytes * (_AHEAD + 1)))


def _unchanged(value: T) -> T:
    return value
