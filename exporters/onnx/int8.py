"""Static int8 in QDQ form: one recipe for ONNX Runtime, one for TensorRT."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from exporters.errors import WrongInput
from exporters.onnx.fold import drop_unused
from exporters.quiet import quiet
from exporters.request import INPUT_NAME, Array, ExportRequest

if TYPE_CHECKING:
    import onnx

# ONNX Runtime's CPU kernels are fastest with unsigned activations; TensorRT accepts symmetric signed ones only,
# and wants biases in floating point.
RECIPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "onnxruntime": {"activations": "QUInt8", "extra": {}},
    "tensorrt": {
        "activations": "QInt8",
        "extra": {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    },
}


ANY_BATCH: Final = 16  # images at a time where the file takes any number: ranges are the same, in less time


def quantised(request: ExportRequest, path: Path, recipe: str) -> "onnx.ModelProto":
    """The fp32 model at `path` with int8 weights per channel and activations by `recipe`.

    Ranges are the smallest and largest values on the calibration images. Raises WrongInput without any.
    """
    import onnx
    from onnxruntime import quantization

    images = request.samples.calibration
    if images is None:
        raise WrongInput("int8 needs calibration images from the training split: set Samples.calibration")
    chosen = RECIPES[recipe]
    target = request.scratch / f"quantised-{recipe}.onnx"
    with quiet():
        quantization.quantize_static(
            str(_prepared(path, request.scratch)),
            str(target),
            _reader(request.file_inputs(images), request.options.batch),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=getattr(quantization.QuantType, chosen["activations"]),
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            extra_options=dict(chosen["extra"]),
        )
    model = onnx.load(str(target))
    for entry in list(model.opset_import):
        if entry.domain not in ("", "ai.onnx"):
            model.opset_import.remove(entry)  # the quantiser declares Microsoft's domain without using it
    drop_unused(model)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, request.described())
    return model


def _prepared(path: Path, scratch: Path) -> Path:
    """The model as the quantiser wants it: with every shape known, fused where ONNX itself allows."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = scratch / f"prepared-{path.name}"
    if not prepared.exists():
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    return prepared


def _reader(inputs: Array, batch: int | None) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    size = batch or ANY_BATCH
    parts: Iterator[Array] = (
        np.resize(inputs[start : start + size], (size, *inputs.shape[1:])) for start in range(0, len(inputs), size)
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Array] | None:
            part = next(parts, None)
            return None if part is None else {INPUT_NAME: part}

    return Reader()
