"""A network as its int8 ONNX file answers, before anything is exported: what quantisation costs."""

from pathlib import Path
from typing import TYPE_CHECKING

from exporters.files import staging_folder, temporary_files_in
from exporters.request import Array, ExportOptions, ExportRequest, Metadata, Samples
from exporters.runtime import Runtime

if TYPE_CHECKING:
    import torch


def int8_model(network: "torch.nn.Module", calibration: Array, folder: Path) -> bytes:
    """The network as the target `onnx-int8` has it, for any batch size and without metadata.

    Ranges are those of the normalised `calibration` images (n, channels, height, width); `folder` is where temporary
    files may lie. The network is left as it is. Raises an ExportError.
    """
    from exporters.deployed import prepared
    from exporters.onnx.write import onnx_file

    samples, options = Samples(calibration, calibration=calibration), ExportOptions(batch=None)
    copied, only = prepared(network, samples, options.batch)
    with staging_folder(folder) as staging, temporary_files_in(staging / "scratch") as scratch:
        request = ExportRequest(copied, samples, Metadata(), options, scratch, only)
        return onnx_file(request, "int8", "onnxruntime").read_bytes()


def open_model(path: Path) -> Runtime:
    """What runs such a file on this machine; CannotRun where it cannot be opened."""
    from exporters.onnx.run import OnnxRuntime

    return OnnxRuntime(path)
