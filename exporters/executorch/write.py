"""ExecuTorch: `.pte` for its XNNPACK backend, PyTorch's own runtime on phones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from exporters.dependencies import EXECUTORCH, Dependency
from exporters.errors import CannotRun, ConversionFailed, UnsupportedOperator, WrongInput
from exporters.quiet import first_line, quiet
from exporters.request import Array, ExportRequest, Precision
from exporters.runtime import InProcess, Runtime, as_shaped, in_batches

SHAPE_METHOD = "input_shape"


@dataclass(frozen=True, slots=True)
class ExecutorchExporter:
    """Writes `.pte`; runs it with ExecuTorch on this CPU.

    The format knows methods, not names of inputs: `forward` takes the image and returns the logits;
    metadata are constant methods, `architecture()`, `labels()`, … each returning text.
    """

    target: str
    precision: Precision
    suffix: ClassVar[str] = ".pte"
    needs: ClassVar[tuple[Dependency, ...]] = EXECUTORCH
    runs_with: ClassVar[tuple[Dependency, ...]] = EXECUTORCH
    repeatable: ClassVar[bool] = True

    def convert(self, request: ExportRequest, path: Path) -> Mapping[str, str]:
        """Write the program to `path`; WrongInput for any batch size: shapes are planned ahead."""
        import torch

        from exporters.deployed import deployed, example
        from exporters.variances import without_variances

        if request.options.batch is None:
            raise WrongInput("executorch: memory is planned for one batch size; set batch to a number")
        inputs = example(request)
        try:
            with quiet():
                from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
                from executorch.exir import to_edge_transform_and_lower

                methods: dict[str, Any] = request.described()
                methods[SHAPE_METHOD] = " ".join(str(size) for size in inputs.shape)
                program = to_edge_transform_and_lower(
                    without_variances(torch.export.export(deployed(request), (inputs,))),
                    partitioner=[XnnpackPartitioner()],
                    constant_methods=methods,
                ).to_executorch()
                path.write_bytes(program.buffer)
        except OSError:
            raise  # no room left, which the caller tells
        except Exception as error:  # torch.export and the partitioner raise what they like
            lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            if "not in Core ATen opset" in lines[0]:
                raise UnsupportedOperator(f"executorch: {lines[0].split('(')[0]}; replace it in the network") from error
            raise ConversionFailed(f"executorch: the converter gave up: {lines[0]}") from error
        return {}

    def open(self, path: Path) -> Sequence[Runtime]:
        """The program on this machine's CPU."""
        return [ExecutorchRuntime(path)]


class ExecutorchRuntime(InProcess):
    """ExecuTorch's portable runtime with XNNPACK kernels."""

    def __init__(self, path: Path) -> None:
        """Open the file; CannotRun where ExecuTorch refuses it."""
        import importlib.metadata

        self._path = path
        try:
            with quiet():
                from executorch.runtime import Runtime as Engine

                self._program = Engine.get().load_program(path)
                self._forward = self._program.load_method("forward")
                self._shape = tuple(int(size) for size in self._text(SHAPE_METHOD).split())
        except RuntimeError as error:
            raise CannotRun(f"ExecuTorch cannot open {path}: {first_line(error)}") from error
        self.by = f"ExecuTorch {importlib.metadata.version('executorch')} (XNNPACK), CPU"

    @property
    def metadata(self) -> dict[str, str]:
        """What was written into the program."""
        return {name: self._text(name) for name in sorted(self._program.method_names - {"forward", SHAPE_METHOD})}

    def run(self, inputs: Array) -> Array:
        return in_batches(self._call, as_shaped(inputs, self._shape[1:], str(self._path)), self._shape[0])

    def _text(self, method: str) -> str:
        return str(self._program.load_method(method).execute([])[0])

    def _call(self, part: Array) -> Array:
        import torch

        # Outputs live in the program's memory plan and are overwritten by the next call.
        result: Array = self._forward.execute([torch.from_numpy(part)])[0].numpy().copy()
        return result
