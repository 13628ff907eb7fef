"""LiteRT (formerly TensorFlow Lite): `.tflite`, what Android's Play services run."""

import contextlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from exporters.dependencies import LITERT, LITERT_RUN, Dependency
from exporters.errors import CannotRun, ConversionFailed, UnsupportedOperator, WrongInput
from exporters.quiet import first_line, quiet
from exporters.request import INPUT_NAME, Array, ExportRequest, Precision
from exporters.runtime import InProcess, Runtime, as_shaped, in_batches

METADATA: Final = "metadata.json"
LARGEST_METADATA: Final = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class LitertExporter:
    """Writes `.tflite` with a signature of named input and output; runs it with LiteRT on this CPU.

    Labels and metadata follow the model as a zip archive, the way TensorFlow Lite attaches files:
    `unzip -p model.tflite labels.txt`.
    """

    target: str
    precision: Precision
    suffix: ClassVar[str] = ".tflite"
    needs: ClassVar[tuple[Dependency, ...]] = LITERT
    runs_with: ClassVar[tuple[Dependency, ...]] = LITERT_RUN
    repeatable: ClassVar[bool] = True

    def convert(self, request: ExportRequest, path: Path) -> Mapping[str, str]:
        """Write the file to `path`; WrongInput for any batch size, which the converter does not have."""
        from exporters.deployed import example, named_output

        if request.options.batch is None:
            raise WrongInput("litert: the batch size of a .tflite file is fixed; set batch to a number")
        try:
            with quiet():
                import litert_torch

                converted = litert_torch.convert(
                    named_output(request), sample_kwargs={INPUT_NAME: example(request)}, strict_export=False
                )
                converted.export(str(path))
        except OSError:
            raise  # no room left, which the caller tells
        except Exception as error:  # the converter raises whatever torch.export, MLIR or its own code does
            reason = first_line(error)
            if "Lowering not found" in reason:
                raise UnsupportedOperator(f"litert: {reason}; replace it in the network") from error
            raise ConversionFailed(f"litert: the converter gave up: {reason}") from error
        _attach(path, request)
        return {}

    def open(self, path: Path) -> Sequence[Runtime]:
        """An interpreter on this machine's CPU."""
        return [LitertRuntime(path)]


class LitertRuntime(InProcess):
    """LiteRT's interpreter with its XNNPACK kernels, one thread."""

    def __init__(self, path: Path) -> None:
        """Open the file; CannotRun where LiteRT refuses it."""
        import importlib.metadata

        self._path = path
        self._interpreter = _interpreter(path, keep=False)
        self._signature = self._interpreter.get_signature_runner()
        self._shape = tuple(int(size) for size in self._interpreter.get_input_details()[0]["shape"])
        self.by = f"LiteRT {importlib.metadata.version('ai-edge-litert')}, CPU, 1 thread"

    @property
    def metadata(self) -> dict[str, str]:
        """What was attached to the file; empty where nothing was."""
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(METADATA) as stream:
                return dict(json.loads(stream.read(LARGEST_METADATA)))
        except (zipfile.BadZipFile, KeyError):
            return {}  # other programs attach nothing

    def run(self, inputs: Array) -> Array:
        shaped = as_shaped(inputs, self._shape[1:], str(self._path))
        return in_batches(self._call, shaped, self._shape[0])

    def tensors(self, inputs: Array) -> list[tuple[str, Array]] | None:
        interpreter = _interpreter(self._path, keep=True)
        part = as_shaped(inputs, self._shape[1:], str(self._path))[: self._shape[0]]
        interpreter.get_signature_runner()(**{INPUT_NAME: part})
        found = []
        for detail in interpreter.get_tensor_details():
            # Tensors inside a delegate have no values.
            with contextlib.suppress(ValueError):
                found.append((str(detail["name"]), interpreter.get_tensor(detail["index"])))
        return found

    def _call(self, part: Array) -> Array:
        (output,) = self._signature(**{INPUT_NAME: part}).values()
        result: Array = output
        return result


def _interpreter(path: Path, keep: bool) -> Any:
    with quiet():
        from ai_edge_litert import interpreter

        resolver = interpreter.OpResolverType
        kind = resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES if keep else resolver.AUTO
        try:
            opened = interpreter.Interpreter(
                str(path),
                num_threads=1,
                experimental_preserve_all_tensors=keep,
                experimental_op_resolver_type=kind,
            )
            opened.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise CannotRun(f"LiteRT cannot open {path}: {first_line(error)}") from error
        return opened


def _attach(path: Path, request: ExportRequest) -> None:
    files = {
        "labels.txt": "".join(f"{label}\n" for label in request.metadata.labels),
        METADATA: json.dumps(request.described(), sort_keys=True),
    }
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)  # ZipInfo's fixed date keeps the bytes the same
