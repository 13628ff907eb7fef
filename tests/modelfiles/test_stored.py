"""Weights that are not there, or not what the model declares, are no smaller model."""

import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from latency_tables.onnx_models import build_model
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.read import read_model
from tests.gate.conftest import FILES, TINY

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"


def split(folder: Path) -> Path:
    """TINY with its weights in a file beside it."""
    path = folder / "split.onnx"
    model = onnx.load_from_string(build_model(TINY))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def packaged(folder: Path) -> Path:
    shutil.copytree(FILES / "tiny.mlpackage", folder / "tiny.mlpackage")
    return folder / "tiny.mlpackage"


def weights_of(model: Path) -> Path:
    return model / "Data/com.apple.CoreML/weights/weight.bin" if model.is_dir() else model.with_name("weights.bin")


@pytest.mark.parametrize("make", [split, packaged])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda file: file.write_bytes(POINTER), r"is a Git LFS pointer.*git lfs pull --include '\w+\.bin'"),
        (lambda file: file.write_bytes(file.read_bytes()[:-64]), "no weights at|declares at least"),
        (lambda file: file.unlink(), r"weights?\.bin is missing"),
        (lambda file: (file.unlink(), file.symlink_to("/etc/passwd")), "outside its folder"),
        (lambda file: file.write_bytes(b""), "no weights at|has 0 bytes"),
    ],
)
def test_weights_beside_the_model_are_looked_at(
    tmp_path: Path, make: Callable[[Path], Path], change: Callable[[Path], object], says: str
) -> None:
    model = make(tmp_path)
    whole = read_model(model)
    assert whole.size_bytes > weights_of(model).stat().st_size
    change(weights_of(model))
    with pytest.raises(ModelFileError, match=says):
        read_model(model)


@pytest.mark.parametrize("location", ["/etc/passwd", "../../../etc/passwd", "../weights.bin", ""])
def test_weights_outside_the_models_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(100_000))
    (tmp_path / "inside").mkdir()
    path = split(tmp_path / "inside")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match=r"outside its folder|are in no file"):
        read_model(path)


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite", "model.mlmodel", "model.ort"])
def test_a_git_lfs_pointer_is_called_what_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ModelFileError, match=rf"{name} is a Git LFS pointer.*git lfs pull --include '{name}'"):
        read_model(tmp_path / name)


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (
            TensorProto(name="w", data_type=1, dims=[2, 3, 1, 1], raw_data=bytes(20)),
            "has 20 bytes of weights.*needs 24",
        ),
        (
            TensorProto(name="w", data_type=1, dims=[2, 3, 1, 1], float_data=[0.0] * 5),
            "has 5 numbers of weights.*needs 6",
        ),
        (TensorProto(name="w", data_type=77, dims=[2], raw_data=bytes(8)), "unknown data type 77"),
        (
            TensorProto(name="w", data_type=1, dims=[-2, 3], raw_data=bytes(24)),
            r"shape \[-2, 3\]; no size may be negative",
        ),
        (TensorProto(name="w", dims=[2], raw_data=bytes(8)), "weights"),
    ],
)
def test_what_is_stored_in_the_file_is_what_its_shape_needs(tmp_path: Path, tensor: TensorProto, says: str) -> None:
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", 1, None)],
        [tensor],
    )
    path = tmp_path / "short.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(ModelFileError, match=says):
        read_model(path)
