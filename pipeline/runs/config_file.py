"""A configuration as a TOML file or a run's own document: read, checked as a whole, compared and hashed."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from latency_tables.devices.address import require_plain
from latency_tables.documents import Place, first_error, read_toml
from pipeline.budget import read_budget
from pipeline.ranking.ranker import FEWEST_LABELS
from pipeline.runs.config import ONNX_FILES, Config, ConfigError
from pipeline.runs.options import Options, suggested_for_a_start

# Keys whose value may be a path, relative to the configuration's folder.
_PATHS = (("data", "path"), ("device", "table"), ("device", "ort_web"), ("space", "name"), ("train", "start"))


def read_config(path: Path, options: Options | None = None) -> Config:
    """The configuration in a TOML file, with the keys that `options` name replaced.

    Relative paths in the file (data, table, space, start) are relative to the file.
    Raises ConfigError for a missing file, text that is not TOML, unknown keys and values out of range.
    """
    try:
        document = read_toml(path, ConfigError)
    except FileNotFoundError:
        raise ConfigError(f"no configuration at {str(path)!r}") from None
    device = document.get("device")
    if isinstance(device, dict) and isinstance(name := device.get("name"), str) and "://" in name:
        require_plain(name, f"{path}: [device] name", ConfigError)
    others = document.get("devices")
    entries = [(document.get(table), key) for table, key in _PATHS]
    entries += [(other, "table") for other in (others.values() if isinstance(others, dict) else ())]
    for entry, key in entries:
        if isinstance(entry, dict) and isinstance(entry.get(key), str):
            beside = path.parent / entry[key]
            if not Path(entry[key]).is_absolute() and is_there(beside):
                entry[key] = str(beside.resolve())
    document = (options or Options()).into(document)
    parse_config(document, str(path))  # refuses what the file says before anything is added to it
    return parse_config(document, str(path), suggested_for_a_start(document))


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder; a text that can be no path is none."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a name, or with a zero byte
        return False


def parse_config(
    document: dict[str, Any], where: str, suggested: Mapping[str, Mapping[str, Any]] | None = None
) -> Config:
    """The configuration that a parsed document describes; `where` names it in errors.

    `suggested` tables say what the document does not. Like defaults they are none of the keys that it sets, so that a
    run which goes on keeps those that it began with, whatever would be suggested by now.
    """
    filled = document | {table: {**values, **document.get(table, {})} for table, values in (suggested or {}).items()}
    try:
        config = Config.model_validate(filled)
    except ValidationError as error:
        raise ConfigError(f"{where}: {first_error(error, Config, _key)}") from None
    tables = {table: _with_keys_set(getattr(config, table), document.get(table, {})) for table in suggested or {}}
    config = config.model_copy(update=tables)
    _check_names(config, where)
    budget = config.budget
    read_budget(budget.model_dump(exclude_none=True, exclude={"latency_quantile"}), f"{where} [budget]")
    if budget.latency_ms is not None and budget.latency_quantile is not None:
        raise ConfigError(f"{where}: [budget] has both latency_ms and latency_quantile; keep one")
    if config.train.minutes is not None and config.train.cpu_minutes is not None:
        raise ConfigError(f"{where}: [train] has both minutes and cpu_minutes; keep one")
    return config


def _with_keys_set(table: BaseModel, keys: Collection[str]) -> BaseModel:
    return type(table).model_construct(set(keys), **dict(table))


def _check_names(config: Config, where: str) -> None:
    """Refuse names that no recipe, criterion or exporter has, before anything begins."""
    from exporters import EXPORTERS
    from pipeline.fewshot.names import CRITERION_NAMES
    from pipeline.supernets.recipes import RECIPES

    if config.train.sharing == "separate" and config.train.start != "none":
        raise ConfigError(
            f"{where}: [train] sharing = 'separate' has no place for the published weights of"
            f" start = {config.train.start!r}; accepted with a start is 'nested'"
        )
    named: list[tuple[str, str, Collection[str]]] = [
        ("[train] recipe", config.train.recipe, RECIPES),
        ("[split] criterion", config.split.criterion, CRITERION_NAMES),
        *(("[export] formats:", name, EXPORTERS) for name in config.export.formats or ()),
    ]
    for key, name, known in named:
        if name not in known:
            raise ConfigError(f"{where}: {key} = {name!r} is unknown; known are {', '.join(known)}")
    for name in config.devices:
        if not re.fullmatch(r"\w[\w.-]*", name):  # it names a file, too
            raise ConfigError(f"{where}: [devices.{name!r}] is no name: letters, digits, dots, dashes, underscores")
    if config.search.pruner != "none" and config.search.judge_by != "scratch":
        raise ConfigError(
            f"{where}: [search] pruner = {config.search.pruner!r} stops trainings; accepted with judge_by ="
            f" {config.search.judge_by!r} is 'none'"
        )
    if 0 < config.search.labels < FEWEST_LABELS:
        raise ConfigError(
            f"{where}: [search] labels = {config.search.labels} are too few to learn from; 0, or at least"
            f" {FEWEST_LABELS}"
        )
    listed: list[tuple[str, list[Any]]] = [
        ("[export] formats", config.export.formats or []),
        ("[space] resolutions", config.space.resolutions or []),
    ]
    for key, values in listed:
        if twice := [value for value in values if values.count(value) > 1]:
            raise ConfigError(f"{where}: {key} has {twice[0]!r} twice; each is done once")
    # Without a precision of its own a run has its table's, which is not read yet.
    of_the_table = config.device.precision is None and config.device.table is not None
    read = list(ONNX_FILES.values()) if of_the_table else [ONNX_FILES[config.device.precision or "fp32"]]
    if config.export.formats is not None and not set(read) & set(config.export.formats):
        needed = " or ".join(map(repr, read))
        raise ConfigError(f"{where}: [export] formats must have {needed}, which the gate reads")


def config_hash(document: dict[str, Any]) -> str:
    """A short name of everything that a configuration in plain values says."""
    text = json.dumps(document, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differing_key(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str | None:
    """The first key, such as `[train] epochs`, whose values differ, with both values; None where none does."""
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            return differing_key(before, after, f"[{key}] ")
        return f"{prefix}{key} (was {before!r}, is {after!r})"
    return None


def _key(place: Place) -> str:
    """A key as in `[train] epochs`."""
    names = [str(part) for part in place]
    return f"[{'.'.join(names[:-1])}] {names[-1]}" if len(names) > 1 else names[0] if names else "the configuration"
