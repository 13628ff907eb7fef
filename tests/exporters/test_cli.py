"""`pocketnas export --verify`, and what the command refuses."""

import json
import shutil
from pathlib import Path

import pytest

from exporters import export_all
from pipeline.cli.app import run_command
from tests.exporters.conftest import METADATA, Trained

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "exports"
    export_all(trained.network, trained.samples, ["onnx", "onnx-fp16"], path, METADATA)
    return path


def test_verify_prints_one_document_with_usable_paths(folder: Path, capsys: Captured) -> None:
    assert run_command(["export", "--verify", str(folder), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [(entry["format"], entry["parity"]["status"]) for entry in printed] == [
        ("onnx", "passed"),
        ("onnx-fp16", "passed"),
    ]
    assert printed[0].keys() >= {"format", "path", "size_bytes", "sha256", "seconds", "parity"}
    assert all(Path(entry["path"]).is_file() for entry in printed)


def test_a_changed_file_is_exit_code_1(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "model.onnx").write_bytes(b"")
    assert run_command(["export", "--verify", str(tmp_path / "copy")]) == 1
    assert "was changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["export"], "name a run folder to export, or --verify DIR"),
        (["export", "x", "--verify", "y"], "not both"),
        (["export", "--verify", "/nonexistent"], "cannot read /nonexistent/export.json"),
        (["export", "/nonexistent", "--to", "onnx"], "/nonexistent is no run"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments: list[str], told: str, capsys: Captured) -> None:
    assert run_command(arguments) == 2
    captured = capsys.readouterr()
    assert told in captured.err and captured.out == ""
