"""Core AI assets as graphs, read through coreai-core: the function `main`, what it calls, its weights' shapes."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from exporters.process import Limits, WorkerDied, ask
from pipeline.modelfiles.cost import CostCounter, CostRules, input_shape, output_shape
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.graph import Constant, Graph, Node, Shape

_MAIN: Final = "main"
_CONSTANT: Final = "coreai.constant"
_INVOKE: Final = "coreai.invoke"
_DEEPEST: Final = 20
_WORKER: Final = "pipeline.modelfiles.coreai"
_LIMITS: Final = Limits(seconds=120, memory_bytes=8 << 30)
_WEIGHTS: Final = frozenset({"f16", "f32", "bf16", "si8", "ui8", "i8", "si4", "ui4", "i4"})


def _convolved(graph: Graph, node: Node) -> int:
    """Weights of (outputs, inputs / groups, kernel…)."""
    return math.prod(output_shape(graph, node)) * math.prod(input_shape(graph, node, 1)[1:])


def _transposed(graph: Graph, node: Node) -> int:
    """Each input value is spread over one filter: (inputs, outputs / groups, kernel…)."""
    return math.prod(input_shape(graph, node, 0)) * math.prod(input_shape(graph, node, 1)[1:])


def _product(graph: Graph, node: Node) -> int:
    return math.prod(output_shape(graph, node)) * input_shape(graph, node, 0)[-1]


_COUNTERS: Final[Mapping[str, CostCounter]] = {
    "batch_matmul": _product,
    "broadcasting_batch_matmul": _product,
    "conv1d": _convolved,
    "conv2d": _convolved,
    "conv2d_transpose": _transposed,
    "conv_transpose2d": _transposed,
    "matmul": _product,
}
_ELEMENTWISE: Final = frozenset(
    {"add", "and", "divide", "equal", "exp", "floor", "greater", "less", "maximum"}
    | {"minimum", "mod", "mul", "or", "pow", "sub", "xor"}
)
_FREE: Final = frozenset(
    """
    abs avg_pool2d bitcast blockwise_shift_scale broadcast_in_dims broadcast_to cast ceil clamp concat constant cos
    dequantize dynamic_slice erf exp expand_dims floor gather gather_nd gelu get_shape interpolate invoke layer_norm
    log max_pool2d negate output pad pixel_shuffle pixel_unshuffle power quantize reduce_max reduce_mean reduce_min
    reduce_prod reduce_sum relu reshape resize reverse round rsqrt select shape sigmoid sign silu sin slice softmax
    softplus split sqrt square squeeze stack strided_slice sum_pool2d tanh tile transpose where
    """.split()  # noqa: SIM905  # a name a line would be 70 lines
)
COREAI_RULES: Final = CostRules(
    _COUNTERS,
    _FREE | _ELEMENTWISE | {f"broadcasting_{name}" for name in _ELEMENTWISE},
    {"blockwise_shift_scale": frozenset({1, 2, 3}), "dequantize": frozenset({1, 2, 3})},
    frozenset({"other"}),
)


def read_asset(path: Path) -> Graph | None:
    """The asset's function `main` with what it calls; None where coreai-core is not installed.

    Raises ModelFileError for what is no Core AI asset or has no such function.
    """
    from importlib.util import find_spec

    if not (path / "main.mlirb").is_file():
        raise ModelFileError(f"{path} is no Core AI asset: there is no main.mlirb in it")
    if find_spec("coreai") is None:
        return None
    # Apple's parser ends the process for damaged bytes: it reads in one of its own.
    try:
        found, _ = ask(_WORKER, {"path": str(path.absolute())}, _LIMITS)
    except WorkerDied as death:
        raise ModelFileError(f"{path} is no Core AI asset: its parser {death}") from None
    return Graph(
        tuple(Node(node[0], node[1], tuple(node[2]), tuple(node[3]), {}) for node in found["nodes"]),
        {name: tuple(shape) for name, shape in found["shapes"].items()},
        {name: Constant(tuple(shape), kind, None) for name, (shape, kind) in found["constants"].items()},
        tuple(found["inputs"]),
        tuple(found["outputs"]),
    )


def answer(job: Mapping[str, Any], _: object) -> tuple[dict[str, Any], None]:
    """The graph of the asset at `path`."""
    from coreai.authoring.asset import AIModelAsset

    module = AIModelAsset.load(Path(job["path"])).program._module._mlir_module
    functions = {_symbol(operation): operation for operation in module.body.operations}
    if _MAIN not in functions:
        raise ModelFileError(f"it has no function {_MAIN!r}")
    graph = _Reader(functions).read()
    document: dict[str, Any] = {
        "nodes": [[node.operator, node.name, node.inputs, node.outputs] for node in graph.nodes],
        "shapes": graph.shapes,
        "constants": {name: [constant.shape, constant.kind] for name, constant in graph.constants.items()},
        "inputs": graph.inputs,
        "outputs": graph.outputs,
    }
    return document, None


class _Reader:
    """Functions that are called are read where they are called: every tensor has one name."""

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self._functions = functions
        self._shapes: dict[str, Shape] = {}
        self._constants: dict[str, Constant] = {}

    def read(self) -> Graph:
        block = self._functions[_MAIN].regions[0].blocks[0]
        nodes = tuple(self._nodes(_MAIN, "", 0))
        outputs = tuple(name for node in nodes if node.operator == "output" for name in node.inputs)
        inputs = tuple(self._named(argument, "") for argument in block.arguments)
        return Graph(
            tuple(node for node in nodes if node.operator != "output"), self._shapes, self._constants, inputs, outputs
        )

    def _nodes(self, function: str, prefix: str, depth: int) -> Iterator[Node]:
        if depth > _DEEPEST:
            raise ModelFileError(f"functions call each other more than {_DEEPEST} deep")
        for operation in self._functions[function].regions[0].blocks[0].operations:
            outputs = tuple(self._named(value, prefix) for value in operation.results)
            if operation.name == _CONSTANT:
                (name,), kind = outputs, str(operation.results[0].type.element_type)
                shape = tuple(size or 0 for size in self._shapes[name])
                # A single number is a setting, a bound or an epsilon.
                self._constants[name] = Constant(shape, kind if kind in _WEIGHTS and shape else "other", None)
                continue
            inputs = tuple(self._named(value, prefix) for value in operation.operands)
            if operation.name == _INVOKE:
                callee = str(operation.attributes["callee"]).partition("@")[2].partition(">")[0]
                if callee not in self._functions:
                    raise ModelFileError(f"it calls {callee!r}, which it does not have")
                inner = self._nodes(callee, f"{prefix}{outputs[0]}.", depth + 1)
                yield from (node for node in inner if node.operator != "output")
                continue
            operator = operation.name.removeprefix("coreai.").removeprefix("decomposable.")
            if depth == 0 or operator != "output":
                yield Node(operator, next(iter(outputs), ""), inputs, outputs, {})

    def _named(self, value: Any, prefix: str) -> str:
        name = prefix + str(value.get_name())
        if name not in self._shapes:
            sizes = value.type.shape if hasattr(value.type, "shape") else ()
            self._shapes[name] = tuple(size if size >= 0 else None for size in sizes)
        return name


def _symbol(operation: Any) -> str:
    return str(operation.attributes["sym_name"]).strip('"') if "sym_name" in operation.attributes else ""
