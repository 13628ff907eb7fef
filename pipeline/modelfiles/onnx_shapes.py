"""The types of an ONNX node's outputs, by ONNX's own inference, and the values of those that only shapes decide."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import first_line
from pipeline.modelfiles.errors import Contradiction
from pipeline.modelfiles.onnx_microsoft import standard_nodes
from pipeline.modelfiles.onnx_types import STANDARD_DOMAINS, sizes_of, tensor_type

if TYPE_CHECKING:
    import onnx

_FLOAT: Final = 1  # ONNX's numbers of data types
_UINT8: Final = 2
_INT8: Final = 3
_OF_KINDS: Final = ("typestr", "same type")  # in errors about kinds of numbers, not shapes
MOST_VALUES: Final = 4096  # elements up to which a tensor's values are followed
# Computed where all inputs are known: what exporters write between a Shape and a Reshape, Resize, Pad or If.
_FOLDED: Final = frozenset(
    """
    Abs Add And Cast CastLike Ceil Clip Concat Constant ConstantOfShape CumSum Div Equal Expand Flatten Floor Gather
    GatherElements GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg Not OneHot Or Pad Pow
    Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Reshape Round ScatterElements ScatterND Sign
    Slice Split Sqrt Squeeze Sub Sum Tile TopK Transpose Trilu Unsqueeze Where Xor
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Scope:
    """What is known of tensors by name: ONNX types, and values (arrays) of small ones."""

    types: dict[str, "onnx.TypeProto"] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def inside(self) -> "Scope":
        """A copy for an inner graph, which sees everything around it."""
        return Scope(dict(self.types), dict(self.values))


def follow(node: "onnx.NodeProto", scope: Scope, opsets: Mapping[str, int]) -> None:
    """Enter into `scope` what is known of the outputs of a node without inner graphs.

    Raises Contradiction where the shapes of its inputs do not fit each other.
    """
    if node.domain in STANDARD_DOMAINS:
        version = opsets.get("", 0)
        scope.types.update({name: kind for name, kind in _inferred(node, scope, version).items() if name})
        for name, value in _folded(node, scope, version).items():
            scope.values[name] = value
            scope.types[name] = _type_of(value)
        return
    for like in standard_nodes(node, scope.types):
        # The standard operator computes with floats what ONNX Runtime's computes with bytes.
        found = _inferred(like, Scope(_as_floats(scope.types, like.input), scope.values), _newest())
        element = _given(node, scope.types)
        scope.types.update({name: tensor_type(element, sizes_of(kind)) for name, kind in found.items()})


def _as_floats(types: Mapping[str, "onnx.TypeProto"], names: Sequence[str]) -> dict[str, "onnx.TypeProto"]:
    return {name: tensor_type(_FLOAT, sizes_of(types[name])) for name in names if name in types}


def _given(node: "onnx.NodeProto", types: Mapping[str, "onnx.TypeProto"]) -> int:
    """The kind of a result's numbers: of a quantised operator that of its last zero point, else floats."""
    if not node.op_type.startswith("QLinear") and node.op_type not in ("QuantizeLinear", "QGemm"):
        return _FLOAT
    kinds = [types[name].tensor_type.elem_type for name in node.input if name in types]
    return next((kind for kind in reversed(kinds) if kind in (_UINT8, _INT8)), _UINT8)


@lru_cache(maxsize=1)
def _newest() -> int:
    from onnx import defs

    return int(defs.onnx_opset_version())


@lru_cache(maxsize=1024)
def _schema(operator: str, version: int) -> Any:
    """None for an operator that ONNX does not have."""
    from onnx import defs

    # ONNX Runtime writes LayerNormalization into files of opsets that did not have it yet.
    for wanted in dict.fromkeys((version, _newest())):
        try:
            schema = defs.get_schema(operator, wanted, "")
            # A deprecated operator is what it was in the version before.
            return defs.get_schema(operator, schema.since_version - 1, "") if schema.deprecated else schema
        except defs.SchemaError:
            continue
    return None


def _inferred(node: "onnx.NodeProto", scope: Scope, version: int) -> dict[str, "onnx.TypeProto"]:
    import onnx
    from onnx import checker, helper, numpy_helper, shape_inference

    schema = _schema(node.op_type, version)
    if schema is None:
        return {}
    unknown = onnx.TypeProto()
    unknown.tensor_type.elem_type = onnx.TensorProto.FLOAT
    names = [name for name in node.input if name]
    types = {name: scope.types.get(name, unknown) for name in names}
    data = {name: numpy_helper.from_array(scope.values[name]) for name in names if name in scope.values}
    try:
        return dict(
            shape_inference.infer_node_outputs(
                schema, node, types, data, opset_imports=[helper.make_opsetid("", version)]
            )
        )
    except (shape_inference.InferenceError, checker.ValidationError) as error:
        if any(name not in scope.types for name in names) or any(word in str(error) for word in _OF_KINDS):
            return {}  # what kind of numbers an operator takes is not what is asked here
        called = f"{node.op_type} {node.name!r}" if node.name else node.op_type
        raise Contradiction(f"the shapes of the graph contradict each other at {called}: {_reason(error)}") from None
    except (RuntimeError, KeyError, ValueError, TypeError):  # an attribute or a type that the inference cannot take
        return {}


def _reason(error: Exception) -> str:
    return first_line(error).removeprefix("[ShapeInferenceError] ").removeprefix("[TypeInferenceError] ")


def _folded(node: "onnx.NodeProto", scope: Scope, version: int) -> dict[str, Any]:
    """The values of the outputs, where they are few and follow from what is known."""
    import numpy as np

    if node.op_type in ("Shape", "Size"):
        sizes = sizes_of(scope.types.get(node.input[0])) if node.input else None
        if sizes is None or None in sizes:
            return {}
        known = [size or 0 for size in sizes]
        if node.op_type == "Size":
            return {node.output[0]: np.asarray(math.prod(known), np.int64)}
        limits = {attribute.name: attribute.i for attribute in node.attribute}
        return {node.output[0]: np.asarray(known[limits.get("start", 0) : limits.get("end", len(known))], np.int64)}
    if node.op_type not in _FOLDED or any(name and name not in scope.values for name in node.input):
        return {}
    for name in node.output:
        sizes = sizes_of(scope.types.get(name))
        if name and (sizes is None or None in sizes or math.prod(size or 0 for size in sizes) > MOST_VALUES):
            return {}
    return _evaluated(node, scope, version)


def _evaluated(node: "onnx.NodeProto", scope: Scope, version: int) -> dict[str, Any]:
    import numpy as np
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    names, outputs = [name for name in node.input if name], [name for name in node.output if name]
    inputs = [helper.make_value_info(name, _type_of(scope.values[name])) for name in dict.fromkeys(names)]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([node], "one", inputs, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    try:
        with np.errstate(all="ignore"):
            values = ReferenceEvaluator(model).run(None, {name: scope.values[name] for name in names})
    except Exception:  # the evaluator raises whatever numpy does; the value is then simply not known
        return {}
    arrays = {name: np.asarray(value) for name, value in zip(outputs, values, strict=True)}
    return {name: array for name, array in arrays.items() if array.dtype != object}


def _type_of(value: Any) -> "onnx.TypeProto":
    from onnx import helper

    return tensor_type(helper.np_dtype_to_tensor_dtype(value.dtype), tuple(value.shape))
