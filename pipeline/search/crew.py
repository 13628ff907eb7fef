"""Who works on a study. A trial whose worker is gone fails; samplers then propose its network again."""

import fcntl
import os
import time
import uuid
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

WORKER_ATTRIBUTE: Final = "worker"
_UNSIGNED_S: Final = 5.0  # a worker signs its trial within milliseconds
_POLL_S: Final = 0.1


class Crew(ABC):
    """The workers of one study, as one of them sees them; `name` is its own.

    A worker signs each trial that it takes. One that stays unsigned belongs to nobody: its worker died, or its
    database went away, between taking and signing it.
    """

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        self._unsigned: dict[int, float] = {}  # when each was first seen, by number

    @abstractmethod
    def present(self) -> AbstractContextManager[None]:
        """Be counted as alive inside this context."""

    @abstractmethod
    def _fail_signed(self, study: optuna.Study, running: list[FrozenTrial]) -> None:
        """Fail the signed ones among `running` whose workers are dead."""

    def sign(self, trial: Trial) -> None:
        """Say that this worker has the trial."""
        trial.set_user_attr(WORKER_ATTRIBUTE, self.name)

    def reclaim(self, study: optuna.Study) -> None:
        """Fail the running trials that have no living worker."""
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        now = time.monotonic()
        unsigned = [trial.number for trial in running if WORKER_ATTRIBUTE not in trial.user_attrs]
        self._unsigned = {number: self._unsigned.get(number, now) for number in unsigned}
        for number, since in self._unsigned.items():
            if now - since > _UNSIGNED_S:
                fail(study, number)
        self._fail_signed(study, running)

    def give_up(self, study: optuna.Study) -> None:
        """Fail what this worker, which is at no trial any more, has left running: for example after an outage.

        Waits until each trial that may be its own has failed or turned out to be another's. Raises what storages do.
        """
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.user_attrs.get(WORKER_ATTRIBUTE) == self.name:
                fail(study, trial.number)
        self.reclaim(study)
        suspects = set(self._unsigned)
        while suspects & self._unsigned.keys():
            time.sleep(_POLL_S)
            self.reclaim(study)


class JournalCrew(Crew):
    """Workers on one journal: each holds a locked file, which the system unlocks when the worker dies."""

    def __init__(self, journal: Path) -> None:
        super().__init__()
        self._folder = journal.with_name(journal.name + ".workers")

    @contextmanager
    def present(self) -> Iterator[None]:
        self._folder.mkdir(exist_ok=True)
        path = self._folder / self.name
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(handle)

    def _fail_signed(self, study: optuna.Study, running: list[FrozenTrial]) -> None:
        alive = self._alive()
        alone = alive == {self.name}
        for trial in running:
            worker = trial.user_attrs.get(WORKER_ATTRIBUTE)
            # What is not signed yet is a dead one's if nobody else is here.
            if (worker not in alive) if worker else alone:
                fail(study, trial.number)

    def _alive(self) -> set[str]:
        alive = {self.name}
        for path in self._folder.iterdir():
            if path.name != self.name and _is_locked(path):
                alive.add(path.name)
        return alive


class DatabaseCrew(Crew):
    """Workers on one database, on any machine: while one has a trial, it leaves a heartbeat there."""

    def __init__(self, storage: BaseStorage) -> None:
        super().__init__()
        self._storage = storage

    def present(self) -> AbstractContextManager[None]:
        return nullcontext()

    def sign(self, trial: Trial) -> None:
        # Optuna waits for ever for a trial without any heartbeat, and its own begins at some moment.
        if isinstance(self._storage, RDBStorage):
            self._storage.record_heartbeat(trial._trial_id)
        super().sign(trial)

    def _fail_signed(self, study: optuna.Study, running: list[FrozenTrial]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)


def fail(study: optuna.Study, number: int) -> bool:
    """Mark a running trial as failed; False where somebody else ended it first."""
    try:
        study.tell(number, state=TrialState.FAIL)
    except (ValueError, UpdateFinishedTrialError):
        return False
    return True


def _is_locked(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
