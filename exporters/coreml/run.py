"""Runs a saved Core ML package: its MIL program everywhere, Apple's runtime too on a Mac."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from exporters.coreml.tool import import_coremltools
from exporters.errors import CannotRun
from exporters.quiet import first_line, quiet
from exporters.request import Array
from exporters.runtime import InProcess, as_shaped, in_batches

WEIGHTS = Path("Data") / "com.apple.CoreML" / "weights"


class MilRuntime:
    """The program that lies in the package, executed by `exporters.coreml.mil.interpreter`."""

    by = "interpreter of the saved MIL program (graph parity; Apple's runtime: not run)"

    def __init__(self, path: Path) -> None:
        """Read the package; UnsupportedOperator for a program that the interpreter does not know."""
        from exporters.coreml.mil.interpreter import MilInterpreter

        self._path = path
        self.specification = read_specification(path)
        self._interpreter = MilInterpreter(_function(self.specification, path))
        (self._input, shape), *_ = self._interpreter.input_shapes.items()
        self._batch = shape[0] if isinstance(shape[0], int) else None
        self._image = tuple(shape[1:])

    @property
    def metadata(self) -> dict[str, str]:
        """What was written into the package."""
        return dict(self.specification.description.metadata.userDefined)

    def run(self, inputs: Array) -> Array:
        output = self._interpreter.outputs[-1]  # of a classifier, its probabilities
        shaped = as_shaped(inputs, self._image, str(self._path))
        return in_batches(lambda part: self._interpreter.run({self._input: part})[output], shaped, self._batch)

    def latency_ms(self, inputs: Array) -> float | None:
        return None

    def tensors(self, inputs: Array) -> list[tuple[str, Array]] | None:
        shaped = as_shaped(inputs, self._image, str(self._path))[: self._batch]
        return list(self._interpreter.run({self._input: shaped}).items())


class AppleRuntime(InProcess):
    """The same package on macOS, by Core ML itself; CannotRun elsewhere."""

    def __init__(self, path: Path) -> None:
        if sys.platform != "darwin":
            raise CannotRun("Core ML predicts on macOS only")
        ct = import_coremltools()
        # The other units compute in fp16 whatever the program says.
        self._model: Any = ct.models.MLModel(str(path), compute_units=ct.ComputeUnit.CPU_ONLY)
        self._description: Any = self._model.get_spec().description
        self._input: Any = self._description.input[0]
        self.by = f"Core ML of macOS, through coremltools {ct.__version__}"

    @property
    def metadata(self) -> dict[str, str]:
        """What was written into the package."""
        return dict(self._description.metadata.userDefined)

    def run(self, inputs: Array) -> Array:
        return np.concatenate([self._predict(inputs[i : i + 1]) for i in range(len(inputs))])

    def _predict(self, part: Array) -> Array:
        if self._input.type.WhichOneof("Type") == "imageType":
            from PIL import Image

            pixels = part[0] if part.shape[-1] in (1, 3) else part[0].transpose(1, 2, 0)
            value: Any = Image.fromarray(pixels.squeeze().astype(np.uint8))
        else:
            value = part
        outputs = self._model.predict({self._input.name: value})
        result = outputs[self._description.predictedProbabilitiesName or self._description.output[0].name]
        if isinstance(result, dict):
            return np.array([[result[label] for label in self._labels()]], dtype=np.float32)
        return np.asarray(result, dtype=np.float32)

    def _labels(self) -> list[str]:
        import json

        return list(json.loads(self._description.metadata.userDefined["labels"]))


def read_specification(path: Path) -> Any:
    """The package's protobuf specification."""
    ct = import_coremltools()
    with quiet():
        return ct.utils.load_spec(str(path))


def _function(specification: Any, path: Path) -> Any:
    from coremltools.converters.mil.frontend.milproto import load

    if specification.WhichOneof("Type") != "mlProgram":
        raise CannotRun(f"{path} is not an mlprogram")
    try:
        with quiet():
            program = load.load(specification, specification.specificationVersion, str(path / WEIGHTS))
    except Exception as error:  # coremltools reads back what it wrote with its own checks, of any type
        raise CannotRun(f"coremltools cannot read {path} back: {first_line(error)}") from error
    return program.functions["main"]
