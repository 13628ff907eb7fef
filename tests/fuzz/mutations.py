"""Seeded mutations of files: what damage, editors, other programs and ill will make of them."""

import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

_NUMBER: Final = re.compile(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_ODD_TEXT: Final = (b"-1", b"0", b"1e308", b"NaN", b"-Infinity", b"9" * 5000, b'"text"', b"null", b"true", b"[]", b"{}")
_ODD_STRINGS: Final = ("", "x" * 70_000, "../../etc/passwd", "\u202e\x1b[31m")
_ODD_VALUES: Final[tuple[Any, ...]] = (None, True, -1, 0, 1e308, 10**400, 0.5, *_ODD_STRINGS, [], {}, [[]], {"a": 1})
_ODD_WORDS: Final = (b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\x00\x00\x00\x00", b"\x01\x00\x00\x00", b"\xff" * 8)

Mutation = Callable[[bytes, random.Random], bytes]


def mutated(data: bytes, rng: random.Random, kind: str) -> bytes:
    """`data` with one to three mutations that fit its `kind`: binary, text or json."""
    mutations = {"binary": _BINARY, "text": _BINARY + _TEXT, "json": _BINARY + _TEXT + _JSON * 3}[kind]
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(mutations)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data)) if data else 0
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :] if data else data


def _word(data: bytes, rng: random.Random) -> bytes:
    word = rng.choice(_ODD_WORDS)
    at = rng.randrange(max(1, len(data) - len(word)))
    return data[:at] + word + data[at + len(word) :]


def _early_word(data: bytes, rng: random.Random) -> bytes:
    """In the first kilobyte, where formats keep sizes."""
    word = rng.choice(_ODD_WORDS)
    at = rng.randrange(max(1, min(1024, len(data) - len(word))))
    return data[:at] + word + data[at + len(word) :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _drop(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.randrange(1, 64) :]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    piece = data[at : at + rng.randrange(1, 256)]
    return data[:at] + piece * rng.randrange(2, 40) + data[at:]


def _noise(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.randrange(1, 32)) + data[at:]


def _number(data: bytes, rng: random.Random) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(_ODD_TEXT) + data[match.end() :]


def _lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    how = rng.randrange(3)
    if how == 0:
        del lines[one]
    elif how == 1:
        lines.insert(other, lines[one])
    else:
        lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def _mark(data: bytes, rng: random.Random) -> bytes:
    return rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"[" * 5000, b'{"a":' * 5000)) + data


def _in_document(change: Callable[[Any, Any, random.Random], None]) -> Mutation:
    def mutation(data: bytes, rng: random.Random) -> bytes:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return _flip(data, rng)
        places = list(_places(document))
        if places:
            change(*rng.choice(places), rng)
        return json.dumps(document).encode()

    return mutation


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with every key or index in it."""
    for key in (
        list(document) if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    ):
        yield document, key
        yield from _places(document[key])


def _replace(container: Any, key: Any, rng: random.Random) -> None:
    container[key] = rng.choice(_ODD_VALUES)


def _delete(container: Any, key: Any, rng: random.Random) -> None:
    del container[key]


def _rename(container: Any, key: Any, rng: random.Random) -> None:
    if isinstance(container, dict):
        container[rng.choice(("", "x", "__class__", key.upper() if isinstance(key, str) else "y"))] = container.pop(key)


def _wrap(container: Any, key: Any, rng: random.Random) -> None:
    container[key] = [container[key]] if rng.randrange(2) else {"value": container[key]}


_BINARY: Final[tuple[Mutation, ...]] = (_flip, _word, _early_word, _cut, _drop, _repeat, _noise)
_TEXT: Final[tuple[Mutation, ...]] = (_number, _number, _lines, _mark)
_JSON: Final[tuple[Mutation, ...]] = tuple(map(_in_document, (_replace, _replace, _delete, _rename, _wrap)))
