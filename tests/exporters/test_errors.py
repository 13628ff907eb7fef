"""Bad input and bad disks: one clear line, nothing half-written."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from exporters import (
    ConversionFailed,
    ExportOptions,
    Metadata,
    NotWritten,
    Samples,
    UnknownTarget,
    WrongInput,
    export_all,
    verify,
)
from exporters.files import staging_folder
from tests.exporters.conftest import Trained

FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from exporters import Metadata, NotWritten, Samples, export_all
out = Path(sys.argv[1])
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 10))
images = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    export_all(network, Samples(images), ["onnx"], out, Metadata())
except NotWritten as error:
    print(error)
"""

KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np, torch
from exporters import Metadata, Samples, export_all
import coremltools
save = coremltools.models.MLModel.save
def save_and_die(self, path):
    save(self, path)
    os.kill(os.getpid(), signal.SIGKILL)
coremltools.models.MLModel.save = save_and_die
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 10))
images = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)
export_all(network, Samples(images), ["coreml"], Path(sys.argv[1]), Metadata())
"""


def test_an_unknown_target_lists_the_known_ones(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(UnknownTarget, match=r"'onxx' is unknown; known are onnx, onnx-fp16, .*executorch"):
        export_all(trained.network, trained.samples, ["onnx", "onxx"], tmp_path / "out", Metadata())
    with pytest.raises(UnknownTarget, match="no export target"):
        export_all(trained.network, trained.samples, [], tmp_path / "out", Metadata())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (nn.Conv2d(4, 8, 3), r"does not accept images of shape \(3, 16, 16\): .*channels"),
        (nn.Conv2d(3, 8, 3), r"returns shape \(2, 8, 14, 14\); a classifier returns \(n, classes\)"),
    ],
)
def test_images_of_a_wrong_shape(trained: Trained, tmp_path: Path, network: nn.Module, told: str) -> None:
    with pytest.raises(WrongInput, match=told):
        export_all(network, trained.samples, ["onnx"], tmp_path / "out", Metadata())
    assert not (tmp_path / "out").exists()


def test_a_network_of_several_outputs(trained: Trained, tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    with pytest.raises(WrongInput, match="returns tuple; one tensor is needed"):
        export_all(Two(), trained.samples, ["onnx"], tmp_path, Metadata())


def test_a_folder_that_cannot_be_made(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotWritten, match=r"cannot write into .*file/out: Not a directory"):
        export_all(trained.network, trained.samples, ["onnx"], tmp_path / "file" / "out", Metadata())


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(out)], capture_output=True, text=True)
    assert "no room left for" in done.stdout and done.stdout.count("\n") == 1, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_export_survives_a_failed_one(trained: Trained, tmp_path: Path) -> None:
    export_all(trained.network, trained.samples, ["onnx"], tmp_path, Metadata())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(WrongInput):
        export_all(nn.Conv2d(4, 8, 3), trained.samples, ["onnx"], tmp_path, Metadata())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "told"),
    [({"opset": 12}, "accepted are 13 to 20"), ({"ios": 14}, "accepted are 15 to 18"), ({"batch": 0}, "1 and more")],
)
def test_options_out_of_range(options: dict[str, int], told: str) -> None:
    with pytest.raises(WrongInput, match=told):
        ExportOptions(**options)  # type: ignore[arg-type]


def test_what_killed_exports_left_goes_with_the_next(trained: Trained, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = tmp_path.glob(".export-*")
    assert list(left.rglob("*.mlpackage"))  # what coremltools makes on its way is in there too
    older = tmp_path / ".export-older"
    older.mkdir()
    os.utime(older, (0, 0))
    with staging_folder(tmp_path) as living:
        export_all(trained.network, trained.samples, ["onnx"], tmp_path, Metadata())
        assert list(tmp_path.glob(".export-*")) == [living]


def test_converters_temporary_files_stay_in_the_folder(trained: Trained, tmp_path: Path) -> None:
    before = set(Path(tempfile.gettempdir()).iterdir())
    export_all(trained.network, Samples(trained.samples.images[:2]), ["coreml"], tmp_path, Metadata())
    assert not [path for path in set(Path(tempfile.gettempdir()).iterdir()) - before if "mlpackage" in path.name]
    assert "TMPDIR" not in os.environ or not os.environ["TMPDIR"].startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("labels", "names", "told"),
    [
        (np.array([0, 10]), (), "labels reach 10, the network has classes 0 to 9"),
        (np.array([0, 1]), ("a", "b", "c"), "3 labels, the network 10 classes"),
    ],
)
def test_labels_that_are_not_the_networks(
    trained: Trained, tmp_path: Path, labels: np.ndarray, names: tuple[str, ...], told: str
) -> None:
    with pytest.raises(WrongInput, match=told):
        export_all(trained.network, Samples(trained.samples.images[:2], labels), ["onnx"], tmp_path, Metadata(names))


def test_labels_that_are_none(trained: Trained) -> None:
    for wrong in (np.array(["a", "b"]), np.array([0.5, 1.0]), np.array([-1, 0])):
        with pytest.raises(WrongInput, match=r"(are <U1|are float64|reach down to -1); accepted are class numbers"):
            Samples(trained.samples.images[:2], wrong)
    with pytest.raises(WrongInput, match="'cat' stands for 2 classes"):
        Metadata(labels=("cat", "dog", "cat"))
    with pytest.raises(WrongInput, match="label 3 is no text"):
        Metadata(labels=("cat", 3))  # type: ignore[arg-type]


def test_whatever_a_converter_raises_is_that_targets_own_report(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("of the tool")

    import coremltools

    monkeypatch.setattr(coremltools.models.MLModel, "save", broken)
    with pytest.raises(ConversionFailed, match="coreml: KeyError: 'of the tool'"):
        export_all(trained.network, trained.samples, ["coreml", "onnx"], tmp_path, Metadata())
    assert [report.parity.status for report in verify(tmp_path)] == ["failed", "passed"]


def test_importing_is_light() -> None:
    heavy = "{'torch', 'onnx', 'onnxruntime', 'coremltools', 'pydantic', 'sklearn', 'safetensors'}"
    code = f"import sys, exporters; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_one_image_is_enough(trained: Trained, tmp_path: Path) -> None:
    samples = Samples(np.ascontiguousarray(trained.samples.images[:1]))
    (report,) = export_all(trained.network, samples, ["onnx"], tmp_path, Metadata())
    assert report.parity.status == "passed" and "only 1 images" in report.parity.reason
