"""The one loader: what is foreign, endless, too deep or misspelt is one line of the caller's own error."""

import contextlib
import json
import os
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from latency_tables.documents import parse_json, read_json, read_model, read_toml, validated
from latency_tables.files import read_bounded, sha256_of, write_atomic, write_json


class Refused(Exception):
    """What the caller wants raised."""


class Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    limit: float | str
    count: Annotated[int, Field(ge=1)] = 1


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    rows: list[Row] = []
    devices: dict[str, Row] = {}
    table: Row | None = None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"{", "Expecting property name"),
        (b"[]", r"holds no object, but \[\]"),
        (b"\xff\xfe{}", "utf-8"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "4300 digits"),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "nested more than 64 levels"),
        (b'{"a":' * 100_000, "recursion"),
    ],
)
def test_what_is_no_json_of_ours_is_one_line(text: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(Refused, match=rf"a\.json is corrupt or foreign \(.*{told}") as refusal:
        read_json(tmp_path / "a.json", Refused)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 600


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    document = {"b": [1, 2.5, None, "é"], "a": {"c": True}}
    write_json(tmp_path / "a.json", document)
    assert read_json(tmp_path / "a.json", Refused) == document
    assert parse_json("\ufeff" + (tmp_path / "a.json").read_text(), "text", Refused) == document
    assert len(sha256_of(tmp_path / "a.json")) == 64


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_refused(data: bytes) -> None:
    with contextlib.suppress(Refused):
        assert isinstance(parse_json(data, "bytes", Refused), dict)


def test_endless_and_special_files_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero", "."):
        with pytest.raises(Refused, match=r"is no regular file|Is a directory"):
            read_bounded(tmp_path / name, Refused)
    (tmp_path / "large").write_bytes(b"x" * 3000)
    with pytest.raises(Refused, match="is larger than"):
        read_bounded(tmp_path / "large", Refused, 2999)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "none", Refused)


def test_toml_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("\ufeffseed = 3\n")
    assert read_toml(tmp_path / "a.toml", Refused) == {"seed": 3}
    (tmp_path / "a.toml").write_text("seed = \n")
    with pytest.raises(Refused, match=r"a\.toml is not TOML: Invalid value"):
        read_toml(tmp_path / "a.toml", Refused)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"row": []}, r"unknown key row; did you mean 'rows'\? known are rows, devices, table"),
        ({"rows": [{"limit": 1.0}, {"limit": 1.0, "cuont": 2}]}, r"unknown key rows #2\.cuont; did you mean 'count'"),
        ({"devices": {"phone": {"limt": 1.0}}}, r"unknown key devices\.phone\.limt; did you mean 'limit'"),
        ({"table": {"limit": 1.0, "count": 0}}, r"table\.count = 0: input should be greater than or equal to 1"),
        ({"table": {"limit": []}}, r"table\.limit = \[\]: input should be a valid number"),
        ({"table": {}}, r"table\.limit is missing"),
        ([], r"all of it = \[\]: input should be a valid dict"),
    ],
)
def test_the_first_wrong_key_is_told_with_its_place(document: object, told: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=f"^here: {told}"):
        validated(document, Document, "here", Refused)
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(Refused, match=r"a\.json"):
        read_model(tmp_path / "a.json", Document, Refused)


def test_what_cannot_be_written_is_told_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "table.json", Path("/proc/table.json")):
        with pytest.raises(OSError, match=path.name) as refused:
            write_atomic(path, b"")
        assert refused.value.filename == str(path)
