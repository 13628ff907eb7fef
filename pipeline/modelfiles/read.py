"""What a model file tells about itself, whatever its format."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from latency_tables.blocks import total_params
from pipeline.modelfiles.cost import GraphCost, graph_cost
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.recognise import Recognised, recognise


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the budget adds to a file: open input shapes, and operators whose MACs are taken as free."""

    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ignore_operators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model. A figure is None where the format, or this file, does not tell it.

    `params` counts BatchNorm's two per channel where the whole network was recognised, as a search does, and
    otherwise the weights in the file. `uncounted` names operators whose MACs are unknown: `macs` is then a
    lower bound. `open_inputs` are those whose shape the file leaves open. `runnable` says whether ONNX Runtime can
    be asked to run it.
    """

    path: Path
    format: str
    size_bytes: int
    params: int | None = None
    macs: int | None = None
    uncounted: Mapping[str, int] = field(default_factory=dict)
    accuracy: float | None = None
    recognised: Recognised | None = None
    open_inputs: tuple[str, ...] = ()
    runnable: bool = False
    runtime_versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The format as it is written in a sentence."""
        return _WRITTEN.get(self.format, f"{self.format} file")

    @property
    def size_mb(self) -> float:
        """Megabytes of 1,000,000 bytes."""
        return self.size_bytes / 1e6


_WRITTEN: Final = {"onnx": "ONNX file", "ort": ".ort file", "coreml": "Core ML model", "tflite": "TFLite file"}


def read_model(path: Path, options: ReadOptions | None = None) -> ModelFacts:
    """The facts of the model at `path`; ModelFileError where there is none or its format is unknown."""
    if not path.exists():
        raise ModelFileError(f"no model {str(path)!r}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ModelFileError(f"{path} is no model that can be read; accepted are {', '.join(READERS)} and run folders")
    return reader(path, options or ReadOptions())


def sha256_of(path: Path) -> str:
    """Of a file, or of all files of a package in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            if path.is_dir():
                digest.update(file.relative_to(path).as_posix().encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a package."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def read_metrics(path: Path) -> dict[str, float]:
    """The numbers in a JSON file; ModelFileError where it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {key: float(value) for key, value in document.items() if isinstance(value, (int, float))}
    except FileNotFoundError:
        raise ModelFileError(f"no metrics file {str(path)!r}") from None
    except (ValueError, AttributeError):
        raise ModelFileError(f'{path} is no metrics file; accepted is JSON such as {{"accuracy": 0.91}}') from None


def _onnx(path: Path, options: ReadOptions) -> ModelFacts:
    from pipeline.modelfiles.onnx_cost import ONNX_RULES
    from pipeline.modelfiles.onnx_graph import external_files, load_model, read_graph

    model = load_model(path)
    weights = external_files(model, path.parent)
    graph = read_graph(model, options.input_shapes)
    cost = graph_cost(graph, ONNX_RULES)
    found = recognise(graph, cost)
    return ModelFacts(
        path=path,
        format="onnx",
        size_bytes=size_of(path) + sum(map(size_of, weights)),
        params=total_params(found.blocks) if found.exact else cost.params,
        macs=cost.macs,
        uncounted=_uncounted(cost, options),
        recognised=found,
        open_inputs=tuple(name for name in graph.inputs if None in (graph.shape(name) or ())),
        runnable=True,
    )


def _uncounted(cost: GraphCost, options: ReadOptions) -> dict[str, int]:
    return {name: n for name, n in cost.unsupported.items() if name not in options.ignore_operators}


def _coreml(path: Path, options: ReadOptions) -> ModelFacts:
    from pipeline.modelfiles.coreml import MIL_RULES, read_program

    graph = read_program(path)
    if graph is None:
        note = "only its size is read: it is no ML program (the older neural-network format, or a pipeline)"
        return ModelFacts(path, "coreml", size_of(path), notes=(note,))
    cost = graph_cost(graph, MIL_RULES)
    return ModelFacts(path, "coreml", size_of(path), cost.params, cost.macs, _uncounted(cost, options))


def _tflite(path: Path, options: ReadOptions) -> ModelFacts:
    from pipeline.modelfiles.tflite import TFLITE_RULES, read_flatbuffer

    cost = graph_cost(read_flatbuffer(path), TFLITE_RULES)
    return ModelFacts(path, "tflite", size_of(path), cost.params, cost.macs, _uncounted(cost, options))


def _ort(path: Path, _: ReadOptions) -> ModelFacts:
    note = "an .ort file's operators cannot be read; check the .onnx file that it was made from for MACs"
    return ModelFacts(path, "ort", size_of(path), runnable=True, notes=(note,))


READERS: Final[Mapping[str, Callable[[Path, ReadOptions], ModelFacts]]] = {
    ".onnx": _onnx,
    ".ort": _ort,
    ".mlpackage": _coreml,
    ".mlmodel": _coreml,
    ".tflite": _tflite,
}
