"""PT2: the network as torch's exported program, which plain PyTorch loads and runs without its classes.

program = torch.export.load("model.pt2"); logits = program.module()(images)
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

from exporters.dependencies import TORCH, Dependency
from exporters.errors import CannotRun
from exporters.quiet import first_line, quiet
from exporters.request import Array, ExportRequest, Precision
from exporters.runtime import InProcess, Runtime, as_shaped, in_batches

METADATA: Final = "metadata.json"


@dataclass(frozen=True, slots=True)
class Pt2Exporter:
    """Writes `.pt2`; runs it with PyTorch on this CPU. Metadata are its extra file `metadata.json`."""

    target: str
    precision: Precision
    suffix: ClassVar[str] = ".pt2"
    needs: ClassVar[tuple[Dependency, ...]] = (TORCH,)
    runs_with: ClassVar[tuple[Dependency, ...]] = (TORCH,)
    repeatable: ClassVar[bool] = True

    def convert(self, request: ExportRequest, path: Path) -> Mapping[str, str]:
        """Write the program to `path`."""
        import torch

        from exporters.program import exported_program

        text = json.dumps(request.described(), sort_keys=True)
        with quiet():
            torch.export.save(exported_program(request), path, extra_files={METADATA: text})
        return {}

    def open(self, path: Path) -> Sequence[Runtime]:
        """The program on this machine's CPU, by torch's own loader, which obeys the file: for files of one's own."""
        return [_loaded(path)]

    def open_foreign(self, path: Path) -> Sequence[Runtime]:
        """The same program, for files of anybody's."""
        import torch

        from exporters.pt2.data import Program

        program = Program(path)
        return [Pt2Runtime(path, program, program.shape, program.metadata, f"PyTorch {torch.__version__}, CPU")]


def _loaded(path: Path) -> "Pt2Runtime":
    """CannotRun where torch refuses the file."""
    import torch

    extra = {METADATA: ""}
    try:
        with quiet():
            program = torch.export.load(path, extra_files=extra)
    except Exception as error:  # torch reads back what it wrote with its own checks, of any type
        raise CannotRun(f"torch cannot open {path}: {first_line(error)}") from error
    (image,) = [node.meta["val"] for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    shape = tuple(size if isinstance(size, int) else None for size in image.shape)
    return Pt2Runtime(path, program.module(), shape, extra[METADATA], f"PyTorch {torch.__version__}, CPU")


class Pt2Runtime(InProcess):
    """A read program, run by PyTorch."""

    def __init__(
        self, path: Path, call: Callable[[Any], Any], shape: tuple[int | None, ...], metadata: str, by: str
    ) -> None:
        self._path, self._module, self._shape, self._metadata, self.by = path, call, shape, metadata, by

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What was written beside the program."""
        return dict(json.loads(self._metadata or "{}"))

    def run(self, inputs: Array) -> Array:
        return in_batches(self._call, as_shaped(inputs, self._shape[1:], str(self._path)), self._shape[0])

    def _call(self, part: Array) -> Array:
        import torch

        with torch.no_grad():
            result: Array = self._module(torch.from_numpy(part)).numpy()
        return result
