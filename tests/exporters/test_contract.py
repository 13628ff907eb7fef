"""What every exporter promises, checked for all whose tools are installed here."""

import json
from pathlib import Path

import numpy as np
import pytest

from exporters import (
    EXPORTERS,
    ExportOptions,
    Metadata,
    MissingDependency,
    Preprocessing,
    Samples,
    UnsupportedOperator,
    WrongInput,
    export_all,
)
from exporters.files import sha256, size_bytes
from exporters.registry import file_name
from tests.exporters.conftest import (
    METADATA,
    PREPROCESSING,
    Exported,
    Trained,
    available,
    installed,
    unsupported_network,
)

ALL = pytest.mark.parametrize("target", list(EXPORTERS))
# One target of each format: what follows does not depend on the precision.
ONE_OF_EACH = ["onnx", "ort", "coreml-fp16", "tensorrt", "litert", "executorch", "coreai", "pt2"]
FORMATS = pytest.mark.parametrize("target", ONE_OF_EACH)
NO_METADATA = {"tensorrt", "tensorrt-fp16", "tensorrt-int8"}


def skip_unless_available(target: str) -> None:
    if not available(target):
        missing = [need.pip for need in EXPORTERS[target].needs if not need.found]
        pytest.skip(f"{target} needs {', '.join(missing)}" if missing else "another tool's environment")


@ALL
def test_file_is_as_reported(exported: Exported, target: str) -> None:
    skip_unless_available(target)
    report = exported.reports[target]
    assert report.path == file_name(EXPORTERS[target])
    path = exported.folder / report.path
    assert (report.size_bytes, report.sha256) == (size_bytes(path), sha256(path))
    assert report.seconds > 0
    assert "torch" in report.tool_versions and (len(report.tool_versions) >= 2 or target == "pt2")


@ALL
def test_parity_is_measured_or_said_to_be_missing(exported: Exported, trained: Trained, target: str) -> None:
    skip_unless_available(target)
    parity = exported.reports[target].parity
    if target.startswith("tensorrt") and parity.status == "not run":
        assert "no NVIDIA GPU" in parity.reason and parity.max_abs_diff is None
        return
    assert parity.status == "passed" and parity.reason == ""
    assert parity.images == len(trained.samples.images) >= 200
    assert parity.max_abs_diff is not None and parity.mean_abs_diff is not None
    assert 0 < parity.mean_abs_diff < parity.max_abs_diff < {"fp32": 1e-4, "fp16": 0.1, "int8": 3}[parity_of(target)]
    assert parity.top1_agreement is not None and parity.top1_agreement >= 0.98
    assert parity.accuracy_before is not None and parity.accuracy_before > 0.95
    assert parity.accuracy_after == pytest.approx(parity.accuracy_before, abs=0.005 + 1 / 360)


def parity_of(target: str) -> str:
    return EXPORTERS[target].precision


@ALL
def test_metadata_is_in_the_file(exported: Exported, target: str) -> None:
    skip_unless_available(target)
    if target in NO_METADATA:
        pytest.skip("an engine has no place for metadata but its name, which needs a GPU to be read")
    (runtime, *_) = EXPORTERS[target].open(exported.folder / file_name(EXPORTERS[target]))
    found = runtime.metadata
    assert METADATA.as_strings().items() <= found.items()
    assert json.loads(found["labels"])[3] == "digit 3"
    assert json.loads(found["preprocessing"]) == {
        "channels": "RGB",
        "height": 16,
        "width": 16,
        "layout": "NCHW",
        "input": "normalised float32",
        "mean": list(PREPROCESSING.mean),
        "std": list(PREPROCESSING.std),
    }


@ALL
def test_same_weights_give_the_same_bytes(exported: Exported, exported_again: Exported, target: str) -> None:
    skip_unless_available(target)
    if EXPORTERS[target].repeatable:
        assert exported.reports[target].sha256 == exported_again.reports[target].sha256


@FORMATS
def test_preprocessing_and_softmax_are_folded(folded: Exported, target: str) -> None:
    skip_unless_available(target)
    report = folded.reports[target]
    if report.parity.status == "not run":
        assert target == "tensorrt"
        return
    assert report.parity.status == "passed"
    (runtime, *_) = EXPORTERS[target].open(folded.folder / str(report.path))
    pixels = np.full((3, 16, 16, 3), 200, dtype=np.uint8)
    np.testing.assert_allclose(runtime.run(pixels).sum(axis=1), 1, atol=2e-3)


@pytest.mark.parametrize("target", [name for name in ONE_OF_EACH if name != "pt2"])  # which has what torch has
def test_an_operator_that_the_format_lacks_is_named(trained: Trained, tmp_path: Path, target: str) -> None:
    skip_unless_available(target)
    with pytest.raises(UnsupportedOperator, match="bessel_j0") as caught:
        export_all(unsupported_network(), trained.samples, [target], tmp_path / "out", Metadata())
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "out").glob("model*")] == []


@ALL
def test_a_missing_tool_is_named_with_the_pip_line(trained: Trained, tmp_path: Path, target: str) -> None:
    if installed(target):
        pytest.skip("its tools are installed here")
    with pytest.raises(MissingDependency, match=r"run: pip install 'pocketnas\[") as caught:
        export_all(trained.network, trained.samples, ["onnx", target], tmp_path / "out", Metadata())
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()
    onnx, missing = export_all(
        trained.network, trained.samples, ["onnx", target], tmp_path, Metadata(), optional={target}
    )
    assert (onnx.parity.status, missing.parity.status, missing.path) == ("passed", "not run", None)
    assert "pip install" in missing.parity.reason


@pytest.mark.parametrize("target", ["litert", "executorch"])
def test_a_format_of_fixed_batches_says_so(trained: Trained, tmp_path: Path, target: str) -> None:
    skip_unless_available(target)
    with pytest.raises(WrongInput, match="batch"):
        export_all(trained.network, trained.samples, [target], tmp_path, Metadata(), ExportOptions(batch=None))


def test_preprocessing_is_its_own_inverse(trained: Trained) -> None:
    images = trained.samples.images[:20]
    for layout in ("NHWC", "NCHW"):
        preprocessing = Preprocessing(PREPROCESSING.mean, PREPROCESSING.std, layout)
        np.testing.assert_allclose(preprocessing.normalised(preprocessing.pixels(images)), images, atol=1e-6)


def test_samples_refuse_what_they_cannot_be(trained: Trained) -> None:
    images = trained.samples.images
    with pytest.raises(WrongInput, match="float64"):
        Samples(images.astype(np.float64))
    with pytest.raises(WrongInput, match=r"\(3, 16, 16\)"):
        Samples(images[0])
    with pytest.raises(WrongInput, match="labels of shape"):
        Samples(images, np.zeros(3))
