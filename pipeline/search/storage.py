"""Where a study lives: a journal file on one machine, or a database that several machines share."""

import fcntl
import importlib.util
import os
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.trial import FrozenTrial, TrialState

from pipeline.errors import PipelineError

_HEARTBEAT_S: Final = 10
WORKER_ATTRIBUTE: Final = "worker"


class _Flock(BaseJournalFileLock):
    """A lock that the operating system frees when its holder dies; Optuna's own is waited for for 30 s."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1

    def acquire(self) -> bool:
        self._handle = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o644)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        os.close(self._handle)


def is_url(storage: str | Path) -> bool:
    """Whether `storage` names a database rather than a journal file."""
    return isinstance(storage, str) and "://" in storage


def open_storage(storage: str | Path, heartbeat_s: int = _HEARTBEAT_S) -> BaseStorage:
    """The Optuna storage at a journal path or a database URL.

    In a database a worker whose heartbeat is missing for three intervals is taken for dead, and its trial is
    queued again. Raises PipelineError for a URL that cannot be opened, and for a file that is no journal or a
    damaged one.
    """
    if not is_url(storage):
        return _open_journal(Path(storage))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return RDBStorage(
                _with_driver(str(storage)),
                heartbeat_interval=heartbeat_s,
                grace_period=3 * heartbeat_s,
                heartbeat_stale_trial_callback=requeue,
            )
    except (ImportError, ValueError) as error:
        raise PipelineError(f"cannot open the study storage {without_password(storage)}: {error}") from None
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("sqlalchemy", "psycopg", "psycopg2", "optuna"):
            raise
        cause = str(error).splitlines()[0]
        raise PipelineError(f"cannot open the study storage {without_password(storage)}: {cause}") from None


def _open_journal(path: Path) -> BaseStorage:
    if path.exists() and not path.is_file():
        raise PipelineError(f"the study {path} is not a file; move it away")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _Flock(path.with_name(path.name + ".lock"))
    if path.exists():
        _refuse_foreign(path)
        _drop_torn_line(path, lock)
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:  # all that replaying raises
        raise PipelineError(
            f"the study {path} is damaged ({type(error).__name__}: {error}); move it away or remove it to search anew"
        ) from None


def _refuse_foreign(path: Path) -> None:
    """PipelineError, before anything in it is touched, unless the file begins as Optuna's journals do."""
    beginning = b'{"op_code":'
    with path.open("rb") as stream:
        there = stream.read(len(beginning))
    if not beginning.startswith(there):
        raise PipelineError(f"the study {path} is no Optuna journal; move it away or remove it to search anew")


def requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Give the network of a dead worker's trial out again, before anything new is proposed."""
    params = trial.params or trial.system_attrs.get("fixed_params", {})
    if params:
        study.enqueue_trial(params)


class RollCall:
    """Who works on a journal: each worker holds a locked file, which the system unlocks when the worker dies."""

    def __init__(self, journal: Path) -> None:
        self._folder = journal.with_name(journal.name + ".workers")
        self.name = uuid.uuid4().hex

    @contextmanager
    def present(self) -> Iterator[None]:
        """Be counted as alive inside this context."""
        self._folder.mkdir(exist_ok=True)
        path = self._folder / self.name
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(handle)

    def reclaim(self, study: optuna.Study) -> None:
        """Fail the running trials of dead workers and queue their networks again."""
        alive = self._alive()
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            worker = trial.user_attrs.get(WORKER_ATTRIBUTE)
            # A trial too young to have a worker's name is a dead one's if nobody else is here.
            dead = worker not in alive if worker else alive == {self.name}
            if dead and fail(study, trial.number):
                requeue(study, trial)

    def _alive(self) -> set[str]:
        alive = {self.name}
        for path in self._folder.iterdir():
            if path.name != self.name and _is_locked(path):
                alive.add(path.name)
        return alive


def fail(study: optuna.Study, number: int) -> bool:
    """Mark a running trial as failed; False where somebody else ended it first."""
    try:
        study.tell(number, state=TrialState.FAIL)
    except (ValueError, UpdateFinishedTrialError):
        return False
    return True


def fail_stale(study: optuna.Study) -> None:
    """In a database: fail the trials whose workers' hearts have stopped, and queue their networks again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


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


def _drop_torn_line(path: Path, lock: _Flock) -> None:
    """Remove a last line that a crash cut short: anything appended to it would be unreadable."""
    lock.acquire()
    try:
        with path.open("rb+") as stream:
            data = stream.read()
            if data and not data.endswith(b"\n"):
                stream.truncate(data.rfind(b"\n") + 1)
    finally:
        lock.release()


def _with_driver(url: str) -> str:
    """`postgresql://` means psycopg 3 where psycopg2, SQLAlchemy's default, is not installed."""
    if url.startswith("postgresql://") and importlib.util.find_spec("psycopg2") is None:
        return url.replace("postgresql://", "postgresql+psycopg://", 1)
    return url


def without_password(storage: str | Path) -> str:
    """How a storage is named in messages."""
    scheme, separator, rest = str(storage).partition("://")
    if not separator:
        return str(storage)
    credentials, at, host = rest.rpartition("@")
    return f"{scheme}://{credentials.split(':')[0]}{at}{host}"
