"""An export folder checked again, later and elsewhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from exporters import ExportOptions, Metadata, Samples, WrongInput, export_all, verify
from tests.exporters.conftest import METADATA, Exported, Trained

NO_TORCH = """
import sys
from pathlib import Path
from exporters import verify
for report in verify(Path(sys.argv[1])):
    print(report.format, report.parity.status, report.parity.images)
"""


@pytest.fixture
def folder(exported: Exported, tmp_path: Path) -> Path:
    """An export folder moved to another place, ONNX files only."""
    moved = tmp_path / "moved"
    moved.mkdir()
    document = json.loads((exported.folder / "export.json").read_text())
    document["exports"] = [entry for entry in document["exports"] if entry["format"].startswith("onnx")]
    for entry in document["exports"]:
        shutil.copy(exported.folder / entry["path"], moved)
    shutil.copy(exported.folder / "reference.safetensors", moved)
    (moved / "export.json").write_text(json.dumps(document))
    return moved


def statuses(folder: Path) -> dict[str, str]:
    return {report.format: report.parity.status for report in verify(folder)}


def test_all_that_was_exported_is_verified(exported: Exported) -> None:
    for report in verify(exported.folder):
        before = exported.reports[report.format]
        assert report.parity.status == before.parity.status
        assert report.sha256 == before.sha256


def test_a_folder_of_the_first_version_is_read(folder: Path) -> None:
    document = json.loads((folder / "export.json").read_text())
    for threshold in document["thresholds"].values():
        del threshold["max_rel_diff"], threshold["tie"]
    for entry in document["exports"]:
        del entry["clock"]
    (folder / "export.json").write_text(json.dumps(document))
    assert set(statuses(folder).values()) == {"passed"}


def test_on_a_machine_without_torch(folder: Path) -> None:
    for name in ("torch", "coremltools"):  # importing it fails, as where it is not installed
        (folder / f"{name}.py").write_text("raise ImportError")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}
    command = [sys.executable, "-c", NO_TORCH, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout.split("\n")[:2] == ["onnx passed 256", "onnx-fp16 passed 256"], done.stderr


def test_accuracy_is_measured_again_where_images_are_given(folder: Path, trained: Trained) -> None:
    for report in verify(folder, trained.samples):
        assert report.parity.accuracy_after == pytest.approx(report.parity.accuracy_before, abs=0.01)


def test_changed_missing_and_swapped_files_fail(folder: Path) -> None:
    torn = folder / "model-fp16.onnx"
    torn.write_bytes(torn.read_bytes()[:-1])
    (folder / "model-int8.onnx").unlink()
    reports = verify(folder)
    found = {report.format: report.parity for report in reports}
    assert {report.format for report in reports if report.latency_ms is None} >= {"onnx-fp16", "onnx-int8"}
    assert found["onnx"].status == "passed"
    assert found["onnx-fp16"].status == "failed" and "was changed" in found["onnx-fp16"].reason
    assert found["onnx-int8"].status == "failed" and "is missing" in found["onnx-int8"].reason


def test_a_file_of_another_network_fails_parity_even_with_a_right_hash(folder: Path) -> None:
    from exporters.files import sha256

    shutil.copy(folder / "model-int8.onnx", folder / "model.onnx")
    document = json.loads((folder / "export.json").read_text())
    document["exports"][0]["sha256"] = sha256(folder / "model.onnx")
    (folder / "export.json").write_text(json.dumps(document))
    (parity, *_) = [report.parity for report in verify(folder)]
    assert parity.status == "failed" and "largest difference" in parity.reason


def _changed(folder: Path, key: str, value: object) -> None:
    document = json.loads((folder / "export.json").read_text())
    document["exports"][0][key] = value
    (folder / "export.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "export.json").unlink(), "cannot read .*export.json: No such file"),
        (lambda folder: (folder / "export.json").write_text("{"), "export.json: the file: Invalid JSON"),
        (
            lambda folder: (folder / "export.json").write_text('{"schema_version": 2}'),
            "schema_version: Input should be 1",
        ),
        (lambda folder: (folder / "reference.safetensors").unlink(), "reference.safetensors is missing"),
        (lambda folder: (folder / "reference.safetensors").write_bytes(b"x"), "is not the file that export.json"),
        (lambda folder: _changed(folder, "path", "../../../etc/passwd"), "exports.0.path: String should match"),
        (lambda folder: _changed(folder, "path", ".."), "exports.0.path: .* is a folder"),
        (lambda folder: _changed(folder, "seconds", 1e400), "exports.0.seconds: Input should be a finite number"),
    ],
)
def test_a_folder_that_is_no_export_is_one_clear_line(folder: Path, damage, told: str) -> None:  # type: ignore[no-untyped-def]
    damage(folder)
    with pytest.raises(WrongInput, match=told) as caught:
        verify(folder)
    assert "\n" not in str(caught.value)


def test_a_later_target_joins_the_earlier_ones(trained: Trained, tmp_path: Path) -> None:
    export_all(trained.network, trained.samples, ["onnx"], tmp_path, METADATA)
    export_all(trained.network, trained.samples, ["onnx-fp16"], tmp_path, METADATA)
    assert statuses(tmp_path) == {"onnx": "passed", "onnx-fp16": "passed"}


def test_another_networks_files_do_not_stay_behind(trained: Trained, tmp_path: Path) -> None:
    export_all(trained.network, trained.samples, ["onnx", "onnx-fp16"], tmp_path, METADATA)
    (tmp_path / "notes.txt").write_text("the user's own")
    export_all(trained.network, trained.samples, ["onnx"], tmp_path, Metadata(source_sha256="cd"))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["export.json", "model.onnx", "notes.txt", "reference.safetensors"]


def test_files_that_take_pixels_are_verified_on_stored_pixels(folded: Exported, trained: Trained) -> None:
    assert "failed" not in statuses(folded.folder).values()
    with pytest.raises(WrongInput, match="uint8 pixels"):
        verify(folded.folder, trained.samples)


def test_progress_is_told(folder: Path, trained: Trained, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    verify(folder, progress=lambda done, total, what: told.append((done, total, what)))
    assert [what for *_, what in told][:2] == ["verify onnx", "verify onnx-fp16"]
    told.clear()
    samples = Samples(trained.samples.images[:4])
    export_all(
        trained.network,
        samples,
        ["onnx"],
        tmp_path / "x",
        Metadata(),
        ExportOptions(),
        progress=lambda done, total, what: told.append((done, total, what)),
    )
    assert told == [(0, 1, "export onnx"), (1, 1, "export onnx")]


def test_a_run_is_as_good_a_name_as_its_exports(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.cli.app import run_command

    run = tmp_path / "run"
    run.mkdir()
    folder.rename(run / "exports")
    assert run_command(["export", "--verify", str(run), "--json"]) == 0
    assert {entry["format"] for entry in json.loads(capsys.readouterr().out)} >= {"onnx", "onnx-fp16"}
