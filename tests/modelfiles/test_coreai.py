"""A Core AI asset counts what the ONNX file of the same network counts."""

from pathlib import Path

import pytest

from exporters import Samples, export_all
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.read import read_model
from tests.exporters.conftest import METADATA, available, digit_images, small_network


@pytest.mark.parametrize("target", ["coreai", "coreai-fp16", "coreai-int8"])
def test_macs_and_params_are_the_networks(tmp_path: Path, target: str) -> None:
    if not available(target):
        pytest.skip("coreai is not installed")
    images, _ = digit_images()
    network = small_network().eval()
    reports = export_all(network, Samples(images[:4]), ["onnx", target], tmp_path, METADATA, allow_unverified=True)
    onnx, asset = (read_model(tmp_path / str(report.path)) for report in reports)
    assert asset.macs == onnx.macs and not asset.uncounted
    assert onnx.params is not None and asset.params is not None
    # BatchNorm lies in the convolutions of both; int8 has scales beside the weights, which are no parameters.
    assert abs(asset.params - onnx.params) <= 0.01 * onnx.params


def test_what_is_no_asset(tmp_path: Path) -> None:
    (tmp_path / "x.aimodel").mkdir()
    with pytest.raises(ModelFileError, match=r"there is no main\.mlirb"):
        read_model(tmp_path / "x.aimodel")
    (tmp_path / "x.aimodel" / "main.mlirb").write_bytes(b"no bytecode")
    if available("coreai"):
        with pytest.raises(ModelFileError, match="is no Core AI asset"):
            read_model(tmp_path / "x.aimodel")
    else:
        assert "pocketnas[coreai]" in read_model(tmp_path / "x.aimodel").notes[0]
