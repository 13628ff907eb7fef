"""Where a study lives: a journal file on one machine, or a database that several machines share."""

import errno
import fcntl
import importlib.util
import os
import random
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock

from pipeline.errors import PipelineError

_HEARTBEAT_S: Final = 10
_OPEN_TRIES: Final = 5
OUTAGE_S: Final = 120.0  # how long a database may be away: a restart takes seconds, a failover a minute
T = TypeVar("T")


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

    In a database a worker whose heartbeat is missing for three intervals is taken for dead. Raises PipelineError for
    a URL that cannot be opened, and for a file that is no journal or a damaged one.
    """
    if not is_url(storage):
        return _open_journal(Path(storage))
    for attempt in range(_OPEN_TRIES):
        try:
            return _open_database(str(storage), heartbeat_s)
        except (ImportError, ValueError) as error:
            raise PipelineError(f"cannot open the study storage {without_password(storage)}: {error}") from None
        except Exception as error:
            if storage_failure(error) is None:
                raise
            # Two that begin at once on an empty database both create its tables; the second then finds them.
            if _is_conflict(error) and attempt < _OPEN_TRIES - 1:
                time.sleep(random.uniform(0.1, 0.5))
                continue
            cause = str(error).splitlines()[0]
            raise PipelineError(f"cannot open the study storage {without_password(storage)}: {cause}") from None
    raise RuntimeError("unreachable: the last attempt returns or raises")


def prepare(storage: str | Path) -> None:
    """Meet a storage for the first time: a database must answer, the folder of a journal is made.

    Raises PipelineError as `open_storage` does. Later a database is waited for, and a folder is not made again.
    """
    if is_url(storage):
        open_storage(storage)
    else:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)


def _open_database(url: str, heartbeat_s: int) -> BaseStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return _Database(
            _with_driver(url),
            engine_kwargs={"pool_pre_ping": True},  # connections of before a restart are replaced
            heartbeat_interval=heartbeat_s,
            grace_period=3 * heartbeat_s,
        )


class _Database(RDBStorage):
    """A database whose heartbeat goes on after an outage; Optuna's thread would end with a traceback."""

    def record_heartbeat(self, trial_id: int) -> None:
        try:
            super().record_heartbeat(trial_id)
        except Exception as error:
            if storage_failure(error) is None:
                raise


def _is_conflict(error: BaseException) -> bool:
    """Whether a statement met what another process had just done."""
    return any(
        type(link).__name__ in ("IntegrityError", "ProgrammingError", "UniqueViolation") for link in chain(error)
    )


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it was raised from or during."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def interrupt_behind(error: BaseException) -> KeyboardInterrupt | None:
    """The interrupt that `error` took the place of: Optuna's clean-up fails where one reaches it while it writes."""
    return next((link for link in chain(error) if isinstance(link, KeyboardInterrupt)), None)


def storage_failure(error: BaseException) -> BaseException | None:
    """The failure of a database or file behind `error`, or None where it is something else.

    Optuna's own clean-up fails in turn when its storage does, so the cause may lie several links back.
    """
    for link in chain(error):
        module = type(link).__module__.split(".")[0]
        if module in ("sqlalchemy", "psycopg", "psycopg2") or isinstance(link, StorageInternalError | OSError):
            return link
    return None


class Outage:
    """How long a study's storage has been out of reach, and when that is too long."""

    def __init__(self, storage: str | Path, patience_s: float = OUTAGE_S) -> None:
        self._storage, self._patience_s = storage, patience_s
        self._began: float | None = None

    def over(self) -> None:
        """The storage has answered."""
        self._began = None

    def through(self, action: Callable[[], T]) -> T:
        """What `action` returns, which is called again after each outage. Raises as `wait` does."""
        while True:
            try:
                found = action()
            except Exception as error:
                self.wait(error)
            else:
                self.over()
                return found

    def wait(self, error: Exception) -> None:
        """Return after a while where `error` is a database's that may come back; PipelineError where it lasts, or
        where a file is the storage; `error` itself where it is about something else."""
        cause = storage_failure(error)
        if cause is None:
            raise error
        if not is_url(self._storage):
            raise PipelineError(f"the study {self._storage} {_file_trouble(cause)}") from None
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        if now - self._began > self._patience_s:
            raise PipelineError(
                f"the study storage {without_password(self._storage)} has been out of reach for"
                f" {self._patience_s:.0f} s ({type(cause).__name__}); the same command goes on when it is back"
            ) from None
        time.sleep(min(5.0, 0.5 + (now - self._began) / 4))


def _file_trouble(cause: BaseException) -> str:
    code = cause.errno if isinstance(cause, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "cannot be written: no space left on the disk; free some and run the same command again"
    if code == errno.ENOENT:
        return "is gone: its folder was moved or removed during the search"
    return f"cannot be used ({cause}); the same command goes on when that is mended"


def _open_journal(path: Path) -> BaseStorage:
    if path.exists() and not path.is_file():
        raise PipelineError(f"the study {path} is not a file; move it away")
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
    """How a storage is named in messages: neither a password nor the query, which may hold one."""
    if not is_url(storage):
        return str(storage)
    try:
        url = urlsplit(str(storage))
    except ValueError:
        return f"{str(storage).partition('://')[0]}://…"
    credentials, at, host = url.netloc.rpartition("@")
    return urlunsplit((url.scheme, f"{credentials.split(':')[0]}{at}{host}", url.path, "", ""))
