"""Architectures in the spelling of Once-for-All: what is read, and what is refused instead of being guessed."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.spaces.architecture import ArchitectureError
from pipeline.spaces.files import load_space
from pipeline.spaces.named import resolve_architecture

SPACE = load_space("ofa-mbv3-1.0")
GENES: dict[str, Any] = {"d": [2, 3, 4, 2, 3], "ks": [3, 5, 7, 3] * 5, "e": [3, 4, 6, 6] * 5}


@pytest.mark.parametrize(
    ("more", "resolution"),
    [
        ({"r": 160}, 160),
        ({"r": [160]}, 160),
        ({"image_size": 160}, 160),
        ({"r": 160, "image_size": 160}, 160),
        ({}, 224),
        ({"wid": None}, 224),
    ],
)
def test_input_size(more: dict[str, Any], resolution: int) -> None:
    arch = resolve_architecture(SPACE, json.dumps(GENES | more))
    assert arch.resolution == resolution
    assert [len(stage.ops) for stage in arch.stages] == [1, 2, 3, 4, 2, 3]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"r": [128, 160]}, r"'r' is \[128, 160\]; it should be one input size"),
        ({"r": True}, "'r' is True"),
        ({"r": 160, "image_size": 192}, "'r' is 160 and 'image_size' 192"),
        ({"r": 161}, "161"),
        ({"d": [2, 3, 5, 2, 3]}, r"'d' has 5 for elastic stage 3; space 'ofa-mbv3-1.0' has 2, 3, 4"),
        ({"d": [2, 3, 0, 2, 3]}, "'d' has 0"),
        ({"d": [2, 3, True, 2, 3]}, "list of whole numbers"),
        ({"ks": [3] * 21}, "'ks' lists 21 values"),
        ({"width": 1.2}, "unknown key 'width'; known are r"),
        ({"wid": 1.2}, "unknown key 'wid'"),
    ],
)
def test_what_the_space_has_not_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        resolve_architecture(SPACE, json.dumps(GENES | more))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"d": [2], "d": [3], "ks": [3], "e": [3]}', "'d' stands there twice"),
        ('{"ks": [3], "e": [3]}', "lacks 'd'; an example is"),
        ("{" * 2000, "corrupt"),
        ("x" * 500, "names no architecture"),
        ("r" + "1" * 5000, "it has 5,001 characters"),
        ("a\0b", "names no architecture"),
        ('{"d": 1', "corrupt"),
    ],
)
def test_text_that_is_no_document(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        resolve_architecture(SPACE, text)


def test_files(tmp_path: Path) -> None:
    (tmp_path / "net.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(GENES).encode() + b"\n")
    assert resolve_architecture(SPACE, str(tmp_path / "net.json")).resolution == 224
    (tmp_path / "other").write_text(str(tmp_path / "net.json"))
    with pytest.raises(ArchitectureError, match="names another file"):
        resolve_architecture(SPACE, str(tmp_path / "other"))
    (tmp_path / "odd").write_bytes(b"\xff\x00\xff")
    with pytest.raises(ArchitectureError, match="odd"):
        resolve_architecture(SPACE, str(tmp_path / "odd"))
