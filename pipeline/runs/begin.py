"""A run's folder is begun, or opened with the configuration that it was begun with."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.runs.config import HOW_ONLY, Config
from pipeline.runs.config_file import config_hash, differing_key
from pipeline.runs.documents.base import RunError
from pipeline.runs.documents.run import BaseRun, RunFile
from pipeline.runs.folder import RunFolder, open_run
from pipeline.runs.lock import held, sweep


@contextlib.contextmanager
def create_or_open(path: Path, config: Config, base: RunFolder | None = None) -> Iterator[RunFolder]:
    """The run at `path` with `config`, held for this process: a new one, or the one that is there if its
    configuration is the same. Of a new run that ends with an error before any stage has finished nothing is left.
    With a `base`, a run that specialises it.

    Raises RunError where another process works in the folder, where it holds something else, or a run with another
    configuration (naming the key).
    """
    _refuse_foreign(path)
    created = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"--out {path} cannot be made: {error.strerror}") from None
    with held(path):
        new = not (path / "run.json").exists()
        run = _created_or_opened(path, config, base)
        sweep(path)
        try:
            yield run
        except Exception:
            if new and not run.stage_seconds():
                _forget(run, created)
            raise


def _refuse_foreign(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise RunError(f"--out {path} is a file, not a folder")
    ours = (path / "run.json").exists() or not path.exists()
    # A kill leaves no more than these of a run that was not yet written.
    left = (entry.name == ".lock" or entry.name.startswith(".run.json.") for entry in path.iterdir())
    if not ours and not all(left):
        raise RunError(f"--out {path} holds something that is no run; choose an empty or new folder")


def _forget(run: RunFolder, created: bool) -> None:
    for made in run.path.iterdir():  # all of it is ours: the folder was empty, or was not there
        if made.is_dir() and not made.is_symlink():
            shutil.rmtree(made, ignore_errors=True)
        else:
            made.unlink(missing_ok=True)
    if created and not any(run.path.iterdir()):
        run.path.rmdir()


def _created_or_opened(path: Path, config: Config, base: RunFolder | None) -> RunFolder:
    if not (path / "run.json").exists():
        return _write_run(path, config, base)
    there = open_run(path)
    if not there.stage_seconds():
        # Nothing has been made yet: a mistake in the configuration may be mended.
        return _write_run(path, config, base)
    if (there.base and there.base.path) != (base and base.path):
        begun = "on its own" if there.base is None else f"from {there.base.path}"
        raise RunError(f"{path} holds a run that was begun {begun}; choose another --out")
    said = (RunFile.load(path / "run.json").written, _document(config, written=True))
    # What neither file says is a default: the run keeps the one that it began with.
    key = differing_key(_only(_document(there.config), said), _only(_document(config), said))
    if key is not None:
        raise RunError(f"{path} holds a run with another configuration: {key}; choose another --out")
    # How to work may change from call to call.
    tables = {
        table: getattr(there.config, table).model_copy(
            update={key: getattr(getattr(config, table), key) for key in keys}
        )
        for table, keys in HOW_ONLY.items()
    }
    return replace(there, config=there.config.model_copy(update=tables))


def _write_run(path: Path, config: Config, base: RunFolder | None) -> RunFolder:
    document = _document(config)
    file = RunFile(
        config=document,
        written=_document(config, written=True),
        hash=config_hash(document),
        base=None if base is None else BaseRun(path=str(base.path.resolve()), records=base.shared_records()),
    )
    file.save(path / "run.json")
    return RunFolder(path, config, document, base)


def _document(config: Config, written: bool = False) -> dict[str, Any]:
    """The configuration in plain values, without how it is worked on: a storage's address may hold a password."""
    document = config.model_dump(mode="json", exclude_unset=written)
    for table, keys in HOW_ONLY.items():
        if table in document:
            document[table] = {key: value for key, value in document[table].items() if key not in keys}
    return document


def _only(values: dict[str, Any], written: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The keys of `values`, a level into tables, that stand in one of `written`."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        inside = [document[key] for document in written if key in document]
        if isinstance(value, dict):
            kept[key] = _only(value, [table for table in inside if isinstance(table, dict)])
        elif inside:
            kept[key] = value
    return kept
