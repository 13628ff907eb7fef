"""Files from elsewhere are opened in a process of their own, whatever they do to their runtime."""

import json
import os
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from exporters import EXPORTERS, ExportError, RunFailed, WrongInput, open_file, verify
from exporters.isolated import IsolatedRuntime, opened
from exporters.registry import file_name
from pipeline.cli.app import run_command
from tests.exporters.conftest import Exported, Trained, available
from tests.modelfiles.test_hostile import mutated
from tests.waiting import children_of

PIXELS = np.zeros((2, 16, 16, 3), np.uint8)
MUTATIONS = 6
FILES = ["onnx", "ort", "litert", "executorch", "pt2"]


@pytest.fixture
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the exported file of the target."""
    if not available(request.param):
        pytest.skip(f"{request.param} is not installed")
    exported: Exported = request.getfixturevalue("exported")
    name = file_name(EXPORTERS[request.param])
    return Path(shutil.copy(exported.folder / name, tmp_path / name))


@pytest.mark.parametrize("file", FILES, indirect=True)
def test_damaged_files_end_in_one_line(file: Path) -> None:
    whole, rng = file.read_bytes(), random.Random(0)
    for damaged in (b"", whole[: len(whole) // 2], *(mutated(whole, rng) for _ in range(MUTATIONS))):
        file.write_bytes(damaged)
        try:
            outputs, _ = open_file(file).classify(PIXELS)
        except ExportError as error:
            assert str(error).isprintable() and str(file) in str(error)
        else:
            assert outputs.shape == (2, 10) and np.isfinite(outputs).all()


@pytest.mark.parametrize("file", FILES, indirect=True)
def test_a_crash_of_the_runtime_is_told_and_the_next_picture_answered(file: Path) -> None:
    others = set(children_of(os.getpid()))  # of tests before this one
    opened_file = open_file(file)
    assert isinstance(opened_file.runtime, IsolatedRuntime)
    expected = opened_file.runtime.run(opened_file.image.prepared(PIXELS))
    (worker,) = set(children_of(os.getpid())) - others
    os.kill(worker, signal.SIGSTOP)
    opened_file.runtime.seconds = 0.2
    with pytest.raises(RunFailed, match=r"cannot be executed: the process that runs it gave no answer within"):
        opened_file.run(PIXELS)
    opened_file.runtime.seconds = 60
    np.testing.assert_array_equal(opened_file.runtime.run(opened_file.image.prepared(PIXELS)), expected)


@pytest.mark.parametrize("file", ["litert", "executorch"], indirect=True)
def test_predict_of_a_damaged_file_is_one_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(file.read_bytes()[:3000])
    assert run_command(["predict", str(file), "x.png"]) in (2, 3)
    told = capsys.readouterr().err
    assert file.name in told and told.count("\n") == 1


def test_our_own_fresh_onnx_files_are_not_isolated_nor_exporters_of_ones_own(exported: Exported) -> None:
    onnx = EXPORTERS["onnx"]
    path = exported.folder / "model.onnx"
    assert not isinstance(opened(onnx, path, ours=True)[0], IsolatedRuntime)
    assert isinstance(opened(onnx, path)[0], IsolatedRuntime)


def test_verify_reports_a_file_that_its_runtime_dies_of(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are verified all the same."""
    for name in ("export.json", "reference.safetensors", "model.onnx", "model-fp16.onnx"):
        shutil.copy(exported.folder / name, tmp_path / name)
    document = json.loads((tmp_path / "export.json").read_text())
    document["exports"] = [entry for entry in document["exports"] if entry["format"] in ("onnx", "onnx-fp16")]
    (tmp_path / "export.json").write_text(json.dumps(document))
    # Not memory enough to open anything.
    monkeypatch.setattr("exporters.isolated.MEMORY_BYTES", 1 << 20)
    assert {report.parity.status for report in verify(tmp_path)} == {"failed"}
    monkeypatch.undo()
    assert {report.parity.status for report in verify(tmp_path)} == {"passed"}


def test_labels_that_are_not_as_many_as_the_outputs(exported: Exported, trained: Trained) -> None:
    whole = open_file(exported.folder / "model.onnx")
    for labels in (whole.labels[:3], (*whole.labels, "more")):
        broken = type(whole)(whole.path, whole.runtime, labels, whole.image, whole.probabilities)
        with pytest.raises(RunFailed, match=rf"returns shape \(2, 10\) for 2 images; it has {len(labels)} labels"):
            broken.run(PIXELS)
    with pytest.raises(WrongInput):
        whole.run(PIXELS[:, :3])
