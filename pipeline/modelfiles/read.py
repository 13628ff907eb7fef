"""What a model file tells about itself, whatever its format."""

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from latency_tables.blocks import total_params
from latency_tables.documents import read_json
from pipeline.errors import first_line
from pipeline.modelfiles.cost import CostRules, GraphCost, graph_cost
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.graph import Graph, Shape
from pipeline.modelfiles.recognise import Recognised, recognise
from pipeline.modelfiles.stored import require_file

# What libraries and arithmetic raise for bytes that are no model, besides our own errors.
_DAMAGE: Final = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, RuntimeError, TypeError, ValueError,
    struct.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the budget adds to a file: whole shapes of inputs by name, and operators whose MACs are taken as free."""

    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ignore_operators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model. A figure is None where the format, or this file, does not tell it.

    `params` are the numbers stored as weights; `trained_params` those of the network as it is trained, with two per
    channel for each BatchNorm, where the whole of it was recognised. `macs` are those of one image, at least;
    `macs_most` at most, None where `uncounted` names operators whose MACs are unknown. `open_inputs` are the shapes
    of inputs that the file leaves open; `images` is how many one run computes. `runnable` says whether ONNX
    Runtime can be asked to run it.
    """

    path: Path
    format: str
    size_bytes: int
    params: int | None = None
    trained_params: int | None = None
    macs: int | None = None
    macs_most: int | None = None
    images: int = 1
    uncounted: Mapping[str, int] = field(default_factory=dict)
    accuracy: float | None = None
    recognised: Recognised | None = None
    open_inputs: Mapping[str, Shape] = field(default_factory=dict)
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


_WRITTEN: Final = {
    "onnx": "ONNX file",
    "ort": ".ort file",
    "coreml": "Core ML model",
    "coreai": "Core AI asset",
    "tflite": "TFLite file",
}


def read_model(path: Path, options: ReadOptions | None = None) -> ModelFacts:
    """The facts of the model at `path`.

    Raises ModelFileError where there is none, its format is unknown, or it is damaged or contradicts itself.
    """
    if not path.exists():
        raise ModelFileError(f"no model {str(path)!r}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ModelFileError(f"{path} is no model that can be read; accepted are {', '.join(READERS)} and run folders")
    try:
        return reader(path, options or ReadOptions())
    except ModelFileError as error:
        # A reader names what is wrong, not always where.
        raise error if str(path) in str(error) else ModelFileError(f"{path}: {error}") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from None
    except _DAMAGE as error:
        raise ModelFileError(f"{path} is damaged or foreign ({type(error).__name__}: {first_line(error)})") from error


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
    """The numbers in a JSON file; ModelFileError where it is none, or has an accuracy that is no share of 1."""
    try:
        document = read_json(path, ModelFileError)
    except FileNotFoundError:
        raise ModelFileError(f"no metrics file {str(path)!r}") from None
    found = document.get("accuracy", 0.0)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found <= 1:
        raise ModelFileError(f"{path}: accuracy = {str(found)[:40]} is no share; accepted is 0 to 1, such as 0.91")
    return {key: float(v) for key, v in document.items() if isinstance(v, float) or (type(v) is int and abs(v) < 1e300)}


def _facts(path: Path, kind: str, size_bytes: int, graph: Graph, rules: CostRules, options: ReadOptions) -> ModelFacts:
    """What a graph tells of one image."""
    cost = graph_cost(graph, rules, options.ignore_operators)
    images = _fixed_batch(graph, cost)
    notes = []
    if images > 1:
        cost = replace(cost, macs=cost.macs // images, macs_most=cost.macs // images)
        notes.append(f"one run computes a batch of {images}: MACs are given for one image, latency for the batch")
    present = set(_operators(graph))
    for name in options.ignore_operators:
        if name.removesuffix(" of unknown shape") not in present:
            notes.append(f"ignore_operators names {name!r}, but there is no such operator in it")
    names = {name: graph.metadata.get(name, name) for name in graph.inputs} if kind == "tflite" else {}
    shapes = {names.get(name, name): graph.shape(name) for name in graph.inputs}
    return ModelFacts(
        path=path,
        format=kind,
        size_bytes=size_bytes,
        params=cost.params,
        macs=cost.macs,
        macs_most=None if cost.unsupported else cost.macs if cost.macs_most is None else cost.macs_most,
        images=images,
        uncounted=cost.unsupported,
        open_inputs={name: shape for name, shape in shapes.items() if shape is not None and None in shape},
        notes=tuple(notes),
    )


def _operators(graph: Graph) -> Iterator[str]:
    """The operators of a graph and of those inside it."""
    for node in graph.nodes:
        yield node.operator
        for body in node.bodies:
            yield from _operators(body)


def _fixed_batch(graph: Graph, cost: GraphCost) -> int:
    """How many images one run takes: what the first sizes of an image's tensor and of all results agree on."""
    inputs, outputs = (
        [shape for name in names if (shape := graph.shape(name)) is not None] for names in (graph.inputs, graph.outputs)
    )
    images = {shape[0] for shape in inputs if len(shape) == 4}
    sizes = images | {shape[0] for shape in (*inputs, *outputs) if shape}
    batch = sizes.pop() if len(images) == 1 and len(sizes) == 1 else None
    if batch is None or batch < 2 or not outputs or not cost.exact or cost.macs % batch:
        return 1
    return batch


def _onnx(path: Path, options: ReadOptions) -> ModelFacts:
    from pipeline.modelfiles.onnx_cost import ONNX_RULES
    from pipeline.modelfiles.onnx_file import external_files, load_model
    from pipeline.modelfiles.onnx_graph import read_graph

    model = load_model(path)
    weights = external_files(model, path.parent)
    graph = read_graph(model, options.input_shapes)
    facts = _facts(path, "onnx", size_of(path) + sum(map(size_of, weights)), graph, ONNX_RULES, options)
    found = recognise(graph, facts.macs or 0, bool(facts.uncounted) or facts.macs != facts.macs_most)
    trained = total_params(found.blocks) if found.exact else None
    return replace(facts, recognised=found, trained_params=trained, runnable=True)


def _coreml(path: Path, options: ReadOptions) -> ModelFacts:
    from pipeline.modelfiles.coreml import read_program
    from pipeline.modelfiles.coreml_cost import MIL_RULES

    graph = read_program(path, options.input_shapes)
    if graph is None:
        note = "only its size is read: it is no ML program (the older neural-network format, or a pipeline)"
        return ModelFacts(path, "coreml", size_of(path), notes=(note,))
    return _facts(path, "coreml", size_of(path), graph, MIL_RULES, options)


def _tflite(path: Path, options: ReadOptions) -> ModelFacts:
    from pipeline.modelfiles.tflite import read_flatbuffer
    from pipeline.modelfiles.tflite_operators import TFLITE_RULES

    return _facts(path, "tflite", size_of(path), read_flatbuffer(path, options.input_shapes), TFLITE_RULES, options)


def _coreai(path: Path, options: ReadOptions) -> ModelFacts:
    from pipeline.modelfiles.coreai import COREAI_RULES, read_asset

    graph = read_asset(path)
    if graph is None:
        note = "only its size is read: MACs of a Core AI asset need coreai-core; run: pip install 'pocketnas[coreai]'"
        return ModelFacts(path, "coreai", size_of(path), notes=(note,))
    return _facts(path, "coreai", size_of(path), graph, COREAI_RULES, options)


def _ort(path: Path, _: ReadOptions) -> ModelFacts:
    require_file(path)
    note = "an .ort file's operators cannot be read; check the .onnx file that it was made from for MACs"
    return ModelFacts(path, "ort", size_of(path), runnable=True, notes=(note,))


READERS: Final[Mapping[str, Callable[[Path, ReadOptions], ModelFacts]]] = {
    ".onnx": _onnx,
    ".ort": _ort,
    ".mlpackage": _coreml,
    ".mlmodel": _coreml,
    ".tflite": _tflite,
    ".aimodel": _coreai,
}
