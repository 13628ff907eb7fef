"""The processes that `torchrun` started for one run: how the first one shares work with the others.

The first process runs the stages and calls the others for the parts that can be shared. What is large goes through
the run's folder; orders and answers are small JSON documents in torchrun's key-value store. Nobody waits inside a
collective for a stage to end, so a stage may take as long as it takes.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import PipelineError
from pipeline.process import under_torchrun
from pipeline.progress import Progress

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

    from pipeline.runs.run import Run

Hear = Callable[[Any], None]
_POLL_SECONDS: Final = 0.05
_FAREWELL_SECONDS: Final = 20.0
_PATIENCE: Final = timedelta(days=1)  # with the slowest machine's start; a launcher gives up before
_FAILED: Final = "failed"
_OVER: Final = "over"
_LEFT: Final = "left"


@dataclass(frozen=True, slots=True)
class SharedWork:
    """A part of a stage that all processes do together, each by calling `do(run, payload, progress)`.

    Within `parallel` work the processes train one model: a process group is joined. In other work each takes numbers
    from `run.team.numbers` and gives what it found to `run.team.tell`.
    """

    name: str
    do: Callable[["Run", Any, Progress], Any]
    parallel: bool = False


class Team:
    """One process and those beside it; without a `store` it is alone."""

    def __init__(self, store: "Store | None" = None, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._store = store
        self._call = 0
        self._heard = 0
        self._hear: Hear | None = None

    def do(self, work: SharedWork, run: "Run", payload: Any, progress: Progress, hear: Hear | None = None) -> Any:
        """In the first process: do `work` with all, and return what its own share returned.

        `hear` gets every value that a process tells, while the work goes on. Raises PipelineError where another
        process fails.
        """
        self._hear, self._heard = hear, 0
        if self._store is None:
            return work.do(run, payload, progress)
        self._store.set(self._key("order"), json.dumps({"work": work.name, "payload": payload}))
        for rank in range(1, self.size if work.parallel else 1):
            self._await(self._key(f"ready {rank}"))  # nobody learns of a failure while waiting inside a group
        own = self._share(work, run, payload, progress)
        for rank in range(1, self.size):
            self._await(self._key(f"done by {rank}"))
        self._listen()
        self._call += 1
        return own

    def numbers(self, count: int) -> Iterator[int]:
        """The numbers below `count` that fall to this process: whoever is free takes the next one."""
        if self._store is None:
            yield from range(count)
            return
        while (number := self._store.add(self._key("taken"), 1) - 1) < count:
            yield number

    def tell(self, value: Any) -> None:
        """Hand a JSON value to the first process."""
        if self.rank:
            store = self._joined()
            store.set(self._key(f"told {store.add(self._key('telling'), 1) - 1}"), json.dumps(value))
            return
        if self._hear is not None:
            self._hear(value)
        self._listen()

    def agree(self, about: dict[str, Any], differ: Callable[[dict[str, Any], dict[str, Any]], str | None]) -> None:
        """In the first process: PipelineError where another process began with something else than `about`."""
        for rank in range(1, self.size):
            theirs = json.loads(self._await(f"began {rank}"))
            if (what := differ(about, theirs["about"])) is not None:
                raise PipelineError(f"process {rank} on {theirs['host']} has another configuration: {what}")

    def begin(self, about: dict[str, Any]) -> None:
        """In another process: say with what it began."""
        self._joined().set(f"began {self.rank}", json.dumps({"about": about, "host": socket.gethostname()}))

    def orders(self, known: dict[str, SharedWork], run: Callable[[], "Run"]) -> None:
        """In another process: do what the first one calls for, until it is over; `run` opens the run anew.

        Raises whatever the work raises, and PipelineError where the first process ended with an error.
        """
        while (order := self._next_order()) is not None:
            opened = run()
            self._joined().set(self._key(f"ready {self.rank}"), "1")
            self._share(known[order["work"]], opened, order["payload"], _silent)
            self._joined().set(self._key(f"done by {self.rank}"), "1")
            self._call += 1

    def end(self, failed: bool) -> None:
        """In the first process: let the others go, and wait until they have gone."""
        if self._store is None:
            return
        with contextlib.suppress(RuntimeError):  # the store may be gone
            self._store.set(_OVER, "failed" if failed else "well")
            ends = time.monotonic() + _FAREWELL_SECONDS
            while self._store.add(_LEFT, 0) < self.size - 1 and time.monotonic() < ends and not failed:
                time.sleep(_POLL_SECONDS)

    def leave(self, failure: str | None = None) -> None:
        """In another process: go, after the first one has been told of a `failure` and has spoken of it."""
        store = self._joined()
        with contextlib.suppress(RuntimeError):
            if failure is not None and store.add("failures", 1) == 1:
                store.set(_FAILED, f"process {self.rank} on {socket.gethostname()}: {failure}")
            store.add(_LEFT, 1)
            ends = time.monotonic() + _FAREWELL_SECONDS
            while failure is not None and not store.check([_OVER]) and time.monotonic() < ends:
                time.sleep(_POLL_SECONDS)

    def _share(self, work: SharedWork, run: "Run", payload: Any, progress: Progress) -> Any:
        if not work.parallel:
            return work.do(run, payload, progress)
        from torch.distributed.distributed_c10d import PrefixStore

        from pipeline.supernets.distributed import process_group

        try:
            with process_group(PrefixStore(self._key("group"), self._joined()), self.rank, self.size):
                return work.do(run, payload, progress)
        except RuntimeError:
            # What a collective raises when a process at its other end has gone; that one has said why.
            time.sleep(10 * _POLL_SECONDS)
            self._require_all()
            raise

    def _listen(self) -> None:
        """Hand on what others have told since."""
        while self._store is not None and self._store.check([key := self._key(f"told {self._heard}")]):
            self._heard += 1
            if self._hear is not None:
                self._hear(json.loads(self._store.get(key)))

    def _await(self, key: str) -> bytes:
        store = self._joined()
        while not store.check([key]):
            self._listen()
            self._require_all()
            time.sleep(_POLL_SECONDS)
        return store.get(key)

    def _require_all(self) -> None:
        store = self._joined()
        if self.rank == 0 and store.check([_FAILED]):
            raise PipelineError(store.get(_FAILED).decode())

    def _next_order(self) -> dict[str, Any] | None:
        store = self._joined()
        while not store.check([self._key("order")]):
            if store.check([_OVER]):
                if store.get(_OVER) == b"well":
                    return None
                raise PipelineError("the first process has failed")
            time.sleep(_POLL_SECONDS)
        order: dict[str, Any] = json.loads(store.get(self._key("order")))
        return order

    def _key(self, what: str) -> str:
        return f"{self._call}: {what}"

    def _joined(self) -> "Store":
        if self._store is None:
            raise TypeError("a process that is alone has nobody to talk to")
        return self._store


def join() -> Team:
    """The team of this process; alone where `torchrun` started no others."""
    if not under_torchrun():
        return Team()
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://"))
    return Team(PrefixStore(_attempt(store, rank, size), store), rank, size)


def _attempt(store: "Store", rank: int, size: int) -> str:
    """A name that the processes of this start share and those of no earlier one had.

    The launcher's store outlives the processes, and what those before a restart said must not be heard again. The
    launchers of several machines count restarts each for itself, so their counts tell nothing.
    """
    own = f"{socket.gethostname()} {os.getpid()} {time.time_ns()}"
    if rank:
        store.set(f"here {rank}", own)
        store.wait([f"start of {own}"], _PATIENCE)
        name = store.get(f"start of {own}").decode()
        store.set(f"joined by {own}", name)
        return name
    missing = set(range(1, size))
    while missing:
        for other in [other for other in missing if store.check([f"here {other}"])]:
            # It may be what one before a restart left: that one joins no more, and the new one writes over it.
            here = store.get(f"here {other}").decode()
            store.set(f"start of {here}", own)
            if store.check([joined := f"joined by {here}"]) and store.get(joined).decode() == own:
                missing.remove(other)
        time.sleep(_POLL_SECONDS)
    return own


def _silent(done: int, total: int, what: str) -> None:
    """The first process tells how far the work is."""
