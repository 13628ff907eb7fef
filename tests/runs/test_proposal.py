"""`pocketnas init`: what it looks at, and that its file runs as it stands, whatever folders and classes are called."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from latency_tables.store import save_table
from pipeline.cli.app import run_command
from pipeline.runs.automatic import automatic_config
from pipeline.runs.config_file import read_config
from pipeline.runs.options import Options
from pipeline.spaces.files import load_space
from tests.data.trees import make_tree, picture
from tests.gate.conftest import made_table

QUICK = ["--space", "quickstart", "--start", "none", "--table", "epyc-vm-quickstart"]
HOSTILE = ('quo"te', "back\\slash", "new\nline", "# [train]", "\x1b[31mred", "ünïcode ✓ '")


def proposed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """What `init` prints as JSON."""
    assert run_command(["init", *words, *QUICK, "--json"]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def looked_at(printed: dict[str, Any], name: str) -> str:
    """What was told under a name, in one text."""
    return "; ".join(check["message"] for check in printed["checks"] if check["name"] == name)


@pytest.mark.parametrize("name", HOSTILE)
def test_the_file_is_what_a_folder_run_does_whatever_things_are_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tree(Path(name), {name: 4, "dog": 4})
    printed = proposed(capsys, f"./{name}")
    text = Path("pocketnas.toml").read_text()
    assert set(tomllib.loads(text)) == {"seed", "data", "space", "train", "device"} | {"budget"}
    assert not any(ord(character) < 32 and character != "\n" for character in text)
    config, _ = automatic_config(Options(data=name, space="quickstart", start="none", table="epyc-vm-quickstart"))
    assert read_config(Path("pocketnas.toml")) == config
    assert "8 used of 8 files in 2 classes" in looked_at(printed, "images")
    assert printed["cpu_minutes"] > 0 and printed["minutes"] is None


def test_the_file_stays_true_when_the_folder_moves_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old"
    make_tree(old / "data" / "photos", {"cat": 4, "dog": 4})
    monkeypatch.chdir(old)
    proposed(capsys, "data/photos", "--out", "p.toml")
    old.rename(tmp_path / "new")
    assert read_config(tmp_path / "new" / "p.toml").data.path == str(tmp_path / "new" / "data" / "photos")


def test_pictures_that_cannot_be_read_are_told_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tree(Path("photos"), {"cat": 5, "dog": 5}, ["notes.txt"])
    Path("photos/cat/torn.jpg").write_bytes(picture("torn", form="JPEG")[:200])
    printed = proposed(capsys, "photos")
    assert "torn.jpg" in looked_at(printed, "images") and "notes.txt" in looked_at(printed, "images")
    assert "1 cannot be read" in looked_at(printed, "images")
    assert read_config(Path("pocketnas.toml")).data.skip_broken


def test_groups_are_proposed_by_file_name_and_taken_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [
        f"{label}/{who}_{n}.png"
        for label in ("yes", "no")
        for who in ("ann", "bob", "eve", "tom", "zoe", "max")
        for n in (1, 2)
    ]
    make_tree(Path("photos"), {}, names)
    printed = proposed(capsys, "photos")
    assert "6 groups by file name" in looked_at(printed, "groups")
    assert read_config(Path("pocketnas.toml")).data.group is None  # only a person knows
    line = next(line for line in Path("pocketnas.toml").read_text().splitlines() if line.startswith("# group = "))
    pattern = tomllib.loads(line.removeprefix("# "))["group"]
    printed = proposed(capsys, "photos", "--force", "--group", pattern)
    assert "6 groups" in looked_at(printed, "groups")
    assert read_config(Path("pocketnas.toml")).data.group == pattern


def test_what_cannot_run_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tree(Path("photos"), {"cat": 4, "dog": 4})
    make_tree(Path("few"), {"cat": 4, "dog": 2})
    space = load_space("quickstart").with_classes(2)
    save_table(made_table(space.distinct_blocks()[:3]), Path("lacking.json"))
    Path("there.toml").write_text("mine")
    for words, code, told in (
        (["photos", "--macs", "1k"], 1, "no network of this space reaches macs"),
        (["photos", "--latency-ms", "0.0001"], 1, "no network of this space reaches latency_ms"),
        (["photos", "--table", "lacking.json"], 2, "lacks"),
        (["photos", "--table", "nowhere.json"], 2, "nowhere.json"),
        (["photos", "--macs", "lots"], 2, "lots"),
        (["photos", "--start", "resnet"], 2, "resnet"),
        (["photos", "--group", "("], 2, "group"),
        (["few"], 2, "class 'dog' has 2 image(s)"),
        (["nowhere"], 2, "nowhere"),
        (["photos", "--out", "there.toml"], 2, "--force"),
        (["photos", "--out", "c.json"], 2, ".toml"),
        (["photos", "--out", "no/c.toml"], 2, "no folder"),
    ):
        before = sorted(path.name for path in tmp_path.iterdir())
        table = [] if "--table" in words else QUICK[-2:]
        start = [] if "--start" in words else QUICK[2:4]
        assert run_command(["init", *words, *QUICK[:2], *start, *table]) == code, words
        assert told in capsys.readouterr().err, words
        assert sorted(path.name for path in tmp_path.iterdir()) == before, words
    assert Path("there.toml").read_text() == "mine"


def test_a_device_that_does_not_answer_is_found_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_tree(tmp_path / "photos", {"cat": 4, "dog": 4})
    words = ["init", str(tmp_path / "photos"), "--out", str(tmp_path / "c.toml"), *QUICK[:4]]
    assert run_command([*words, "--device", "adb://nobody-has-this-serial"]) in (2, 3)
    assert not (tmp_path / "c.toml").exists()
