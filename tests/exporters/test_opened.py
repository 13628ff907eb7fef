"""Any exported file, opened by its name alone, classifies pictures as the network does."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from exporters import EXPORTERS, Metadata, Samples, WrongInput, export_all, open_file
from exporters.registry import file_name
from pipeline.cli.app import run_command
from tests.exporters.conftest import LABELS, PREPROCESSING, Exported, Trained, available

FORMATS = ["onnx", "ort", "coreml-fp16", "litert", "executorch", "coreai", "pt2"]
Captured = pytest.CaptureFixture[str]


def digits(trained: Trained, count: int) -> np.ndarray:
    """Test images as uint8 (n, 16, 16, 3)."""
    return PREPROCESSING.pixels(trained.samples.images[:count])


@pytest.mark.parametrize("kind", ["exported", "folded"])
@pytest.mark.parametrize("target", FORMATS)
def test_a_file_says_all_that_is_needed_to_use_it(
    request: pytest.FixtureRequest, trained: Trained, target: str, kind: str
) -> None:
    if not available(target):
        pytest.skip(f"{target} is not installed")
    exported: Exported = request.getfixturevalue(kind)
    opened = open_file(exported.folder / file_name(EXPORTERS[target]))
    assert opened.labels == LABELS
    assert opened.probabilities == (kind == "folded")
    probabilities, milliseconds = opened.classify(digits(trained, 5))
    with torch.no_grad():
        expected = trained.network(torch.from_numpy(trained.samples.images[:5])).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, expected, atol=0.02)
    assert milliseconds is None if target in ("coreml-fp16", "coreai") else milliseconds is not None


def test_pixels_of_another_size_are_refused(exported: Exported, trained: Trained) -> None:
    with pytest.raises(WrongInput, match=r"accepted are uint8 or float \(n, 16, 16, c\)"):
        open_file(exported.folder / "model.onnx").run(np.zeros((1, 8, 8, 3), np.uint8))


def test_files_that_do_not_say_enough(trained: Trained, tmp_path: Path) -> None:
    export_all(trained.network, Samples(trained.samples.images[:2]), ["onnx"], tmp_path, Metadata())
    with pytest.raises(WrongInput, match="written without mean and deviation"):
        open_file(tmp_path / "model.onnx")
    (tmp_path / "notes.txt").write_text("x")
    for name, told in (("notes.txt", r"accepted are \.onnx, \.ort, \.mlpackage"), ("none.onnx", "no model file")):
        with pytest.raises(WrongInput, match=told):
            open_file(tmp_path / name)


def test_predict_prints_the_five_likeliest(
    exported: Exported, trained: Trained, tmp_path: Path, capsys: Captured
) -> None:
    names = []
    for number, pixels in enumerate(digits(trained, 3)):
        names.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(pixels).resize((32, 32), Image.Resampling.NEAREST).save(names[-1])
    for model in (exported.folder, exported.folder / "model.pt2"):
        assert run_command(["predict", str(model), *names, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert [entry["image"] for entry in printed] == names
        assert trained.samples.labels is not None
        for entry, label in zip(printed, trained.samples.labels, strict=False):
            assert entry["top"][0]["label"] == f"digit {label}"
            probabilities = [found["probability"] for found in entry["top"]]
            assert len(probabilities) == 5 and probabilities == sorted(probabilities, reverse=True)
            assert entry["milliseconds"] > 0


def test_predict_refuses_in_one_line(exported: Exported, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    model = str(exported.folder / "model.onnx")
    for arguments, told in (
        ([model, str(tmp_path / "bad.png")], "bad.png"),
        ([model, str(tmp_path / "none.png")], "no picture"),
        ([str(tmp_path), "x.png"], "holds no exported files"),
        ([str(tmp_path / "bad.png"), "x.png"], "is no exported model; accepted are"),
    ):
        assert run_command(["predict", *arguments]) == 2
        captured = capsys.readouterr()
        assert told in captured.err and captured.err.count("\n") == 1 and captured.out == ""


def test_what_has_no_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.onnx")
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    for name in ("fifo.onnx", "zero.onnx"):
        with pytest.raises(WrongInput, match="neither a file nor a folder"):
            open_file(tmp_path / name)
