"""JSON and TOML, our own or somebody else's, as plain values and as pydantic models: one loader, one wording of errors.

`read_json(path, error)` and `parse_json(text, where, error)` return an object (dict) of bounded depth; `read_toml`
the same for TOML; `read_model(path, Model, error)` and `validated(document, Model, where, error)` a model. `error` is
the class that is raised; its message is one line that names the file and what is wrong: `first_error` turns pydantic's
first finding into a sentence, `did_you_mean` proposes the name that was probably meant.
"""

import difflib
import json
import tomllib
import types
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from latency_tables.files import MOST_BYTES, read_bounded

MOST_DEPTH: Final = 64
Model = TypeVar("Model", bound=BaseModel)
Place = Sequence[str | int]


def read_json(path: Path, error: type[Exception], most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """The JSON object in the file. Raises FileNotFoundError, and `error` for whatever else is wrong with it."""
    return parse_json(read_bounded(path, error, most_bytes), str(path), error)


def parse_json(text: str | bytes, where: str, error: type[Exception]) -> dict[str, Any]:
    """The JSON object in `text`; `error` naming `where` for text that is none, NaN, or more than 64 levels."""
    try:
        document = json.loads(_text(text), parse_constant=_refuse_constant, object_pairs_hook=_each_key_once)
    except (ValueError, RecursionError) as problem:  # also UnicodeDecodeError, and numbers of thousands of digits
        raise error(f"{where} is corrupt or foreign ({_one_line(problem)})") from None
    return _bounded_object(document, where, error)


def read_toml(path: Path, error: type[Exception], most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """The table in a TOML file. Raises FileNotFoundError, and `error` for whatever else is wrong with it."""
    return parse_toml(read_bounded(path, error, most_bytes), str(path), error)


def parse_toml(text: str | bytes, where: str, error: type[Exception]) -> dict[str, Any]:
    """The table in a TOML text; `error` naming `where` for text that is none, or more than 64 levels."""
    try:
        document = tomllib.loads(_text(text))
    except (ValueError, RecursionError) as problem:
        raise error(f"{where} is not TOML: {_one_line(problem)}") from None
    return _bounded_object(document, where, error)


def read_model(path: Path, model: type[Model], error: type[Exception], most_bytes: int = MOST_BYTES) -> Model:
    """The `model` in a JSON file. Raises FileNotFoundError, and `error` for whatever else is wrong with it."""
    return validated(read_json(path, error, most_bytes), model, str(path), error)


def validated(document: Any, model: type[Model], where: str, error: type[Exception]) -> Model:
    """The `model` that a document of plain values describes; `error` naming `where` and the first wrong key."""
    try:
        return model.model_validate(document)
    except ValidationError as problem:
        raise error(f"{where}: {first_error(problem, model)}") from None


def dotted(place: Place) -> str:
    """A key as in `devices.phone.table`, or `models #2 path` for one of several tables."""
    return ".".join(f"#{part + 1}" if isinstance(part, int) else part for part in place).replace(".#", " #")


def first_error(error: ValidationError, model: type[BaseModel], shown: Callable[[Place], str] = dotted) -> str:
    """The first thing that pydantic found wrong, as a sentence that begins with the key; `shown` spells a key.

    An unknown key comes before the others: what is missing is then probably misspelt.
    """
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    place = first["loc"]
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, place[:-1])
        hint = did_you_mean(str(place[-1]), known)
        return f"unknown key {shown(place)}; {hint}known are {', '.join(known)}"
    if first["type"] == "missing":
        return f"{shown(place)} is missing"
    # For a value of several possible kinds pydantic adds the kind that it tried: ("macs", "float").
    path = [part for part in place[: _depth(model, place)] if "[" not in str(part)]
    message = first["msg"].removeprefix("Value error, ")
    return f"{shown(path) or 'all of it'} = {_short(first['input'])}: {message[0].lower()}{message[1:]}"


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """'did you mean "…"? ' for the known name that is closest; empty where none is close."""
    by_lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=cutoff)
    return f"did you mean {by_lower[close[0]]!r}? " if close else ""


def _known_keys(model: type[BaseModel], place: Place) -> tuple[str, ...]:
    kind: Any = model
    for part in place:
        kind = _inside(kind, part)
    return tuple(_field_names(kind)) if _is_model(kind) else ()


def _depth(model: type[BaseModel], place: Place) -> int:
    """How many parts of `place` are keys and positions of documents."""
    kind: Any = model
    for count, part in enumerate(place):
        if not _is_model(kind) and get_origin(kind) not in (dict, list, tuple):
            return count
        kind = _inside(kind, part)
    return len(place)


def _inside(kind: Any, part: str | int) -> Any:
    """The type of what stands at `part` of a value of type `kind`; None where that is not a document's part."""
    if _is_model(kind):
        field = next((f for name, f in kind.model_fields.items() if part in (name, f.alias)), None)
        return None if field is None else _plain(field.annotation)
    arguments = get_args(kind)
    return _plain(arguments[-1]) if get_origin(kind) is dict else _plain(arguments[0]) if arguments else None


def _plain(kind: Any) -> Any:
    """A type without Annotated, and the one kind of document among alternatives."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        options = [_plain(option) for option in get_args(kind)]
        return next((o for o in options if _is_model(o) or get_origin(o) in (dict, list, tuple)), options[0])
    return kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _field_names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _text(data: str | bytes) -> str:
    """Text without the byte-order mark that some editors put before it."""
    return data.removeprefix("\ufeff") if isinstance(data, str) else data.decode("utf-8-sig")


def _bounded_object(document: Any, where: str, error: type[Exception]) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise error(f"{where} is corrupt or foreign (it holds no object, but {_short(document)})")
    level: list[Any] = [document]
    for _ in range(MOST_DEPTH):
        level = [
            value
            for inner in level
            for value in (inner.values() if isinstance(inner, dict) else inner)
            if isinstance(value, dict | list)
        ]
        if not level:
            return document
    raise error(f"{where} is corrupt or foreign (it is nested more than {MOST_DEPTH} levels deep)")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)[:80]!r} stands there twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:200]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
