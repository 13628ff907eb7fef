"""Names that a pull request may bring stay text in every output."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pipeline import foreign
from pipeline.cli.app import run_command

COMMAND = "x\n::error file=a::b"
NAMES = [
    COMMAND,
    "::stop-commands::pause",
    "a\r\n##[error]forged",
    "\x1b[2J\x1b]0;title\x07",
    "@team please #12 GH-7 www.example.com http://e.com [l](u) <b> `c` |",
    "\u202egnp.exe\u2028::error::x",
]


@pytest.mark.parametrize("text", [*NAMES, "\udcff\udcfe", "\x85", "\u200b\ufeff", "!5 user@host $x$ ~~y~~"])
def test_each_place_gets_text_that_only_shows(text: str) -> None:
    for shown in (foreign.visible(text), foreign.terminal(text), foreign.xml(text)):
        assert len(shown.splitlines()) <= 1
        assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in shown)
        shown.encode()
    assert "::" not in foreign.terminal(text) and "##[" not in foreign.terminal(text)
    assert "\n" not in foreign.workflow(text, True) and ":" not in foreign.workflow(text, True)
    cell = foreign.markdown(text)
    for live in ("@team", "#12", "GH-7", "www.e", "://", "<b>", " [l", "!5", "@host"):
        assert live not in cell
    assert cell.replace("\\|", "").count("|") == 0


@pytest.mark.parametrize("name", [os.fsencode(name.replace("/", ":")) for name in NAMES] + [b"\xff\xfe"])
def test_a_check_of_a_hostile_name_prints_no_command_and_writes_its_files(
    tmp_path: Path, tiny: Path, budget: Callable[[str], Path], capfd: pytest.CaptureFixture[str], name: bytes
) -> None:
    model = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name + b".onnx"))
    shutil.copy(tiny, model)
    outputs = ["--junit", str(tmp_path / "j.xml"), "--markdown", str(tmp_path / "m.md"), "--github"]
    for extra in ([], ["--json"]):
        assert run_command(["check", str(model), "--budget", str(budget("size_mb = 0.001")), *outputs, *extra]) == 1
        captured = capfd.readouterr()
        commands = [line for line in captured.out.splitlines() if line.lstrip().startswith("::") or "##[" in line]
        assert not commands
        told = [line for line in captured.err.splitlines() if line.lstrip().startswith("::") or "##[" in line]
        assert len(told) == 1 and told[0].startswith("::error title=")
        assert "\x1b" not in captured.out + captured.err
    ElementTree.parse(tmp_path / "j.xml")
    assert len([line for line in (tmp_path / "m.md").read_text().splitlines() if line.startswith("|")]) == 3
    # What is wrong with such a file is one line, too.
    model.write_bytes(b"")
    assert run_command(["check", str(model), "--budget", str(budget("size_mb = 1"))]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and "\x1b" not in error and not error.lstrip().startswith("::")


@pytest.mark.parametrize("option", ["--junit", "--markdown"])
def test_a_folder_is_no_file_to_write(
    tmp_path: Path, tiny: Path, budget: Callable[[str], Path], capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert run_command(["check", str(tiny), "--budget", str(budget("size_mb = 1")), option, str(tmp_path)]) == 2
    assert f"{option} '{tmp_path}' is a folder; give the name of a file" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["ssh://user:se@cret@[bad", "ssh://user:secret@board", "ftp://user:secret@board"])
@pytest.mark.parametrize("limit", ["latency_ms = 5", "size_mb = 5"])
def test_an_address_is_never_told_with_its_password(
    address: str, limit: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "budget.toml").write_text(limit)
    model = Path(__file__).parent / "files" / "tiny.tflite"
    run_command(["check", str(model), "--budget", str(tmp_path / "budget.toml"), "--device", address])
    said = "".join(capfd.readouterr())
    assert "cret" not in said and said
