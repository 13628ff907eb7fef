"""Rounds on another device, by the runners that measure its latency table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from latency_tables.devices.runner import Runner, TimingProtocol
from latency_tables.errors import TableError
from latency_tables.onnx_models import NamedModel
from pipeline.gate.host_rounds import TimedModel
from pipeline.gate.measure import Taken

_PROTOCOL: Final = TimingProtocol(sessions=1)


@dataclass(frozen=True)
class FileModel(NamedModel):
    """A model file as a runner takes it, an ONNX file with its batch and open dimensions fixed; TableError where a
    device reads another format."""

    path: Path
    input_shapes: Mapping[str, tuple[int, ...]]

    @cached_property
    def onnx_bytes(self) -> bytes:
        """The serialised model."""
        import onnx

        if self.path.suffix == ".tflite":
            raise TableError(f"this device times ONNX files, which {self.path} is not; LiteRT's do, as host+litert")
        model = onnx.load(str(self.path))
        for value in model.graph.input:
            sizes = value.type.tensor_type.shape.dim
            for size, dimension in zip(self.input_shapes.get(value.name, ()), sizes, strict=False):
                dimension.dim_value = size
            if sizes and not sizes[0].HasField("dim_value"):
                sizes[0].dim_value = 1
        return bytes(model.SerializeToString())

    @property
    def tflite_bytes(self) -> bytes:
        """The file."""
        if self.path.suffix != ".tflite":
            raise TableError(f"LiteRT times .tflite files, which {self.path} is not")
        return self.path.read_bytes()


def device_round(models: Sequence[NamedModel], runner: Runner) -> list[Taken]:
    """The median time of one run of each model, one fresh session each. Raises MeasurementError."""
    return [Taken(timing.median_ms, timing.median_ms) for timing in runner.measure(models, _PROTOCOL)]


def as_models(candidates: Sequence[TimedModel]) -> list[NamedModel]:
    """Candidates as a runner takes them, each with a name of its own."""
    return [
        FileModel(f"{number}: {one.path.name}", (), one.path, one.input_shapes) for number, one in enumerate(candidates)
    ]
