"""ONNX Runtime's own operators as standard ones that give results of the same shape.

Files that ONNX Runtime optimised or quantised are full of them, and ONNX's inference does not know them.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pipeline.modelfiles.onnx_types import sizes_of

if TYPE_CHECKING:
    import onnx

Types = Mapping[str, "onnx.TypeProto"]
_Make = Callable[["onnx.NodeProto", Types], "onnx.NodeProto | None"]
_DOMAINS: Final = ("com.microsoft", "com.ms.internal.nhwc")
_FLOAT: Final = 1


def standard_nodes(node: "onnx.NodeProto", types: Types) -> list["onnx.NodeProto"]:
    """Standard nodes that give results of the shapes of `node`'s, as far as these are known."""
    make = _LIKE.get(node.op_type) if node.domain in _DOMAINS else None
    if make is None or _channels_last(node):
        return []
    try:
        like = make(node, types)
        found = [] if like is None else [like]
        if node.op_type.startswith("Skip") and len(node.output) > 3 and node.output[3]:
            found.append(_node("Identity", node, [node.input[0]], output=node.output[3]))
    except IndexError:  # too few inputs: nothing is known of such a node
        return []
    return found


def _channels_last(node: "onnx.NodeProto") -> bool:
    return node.domain == "com.ms.internal.nhwc" or any(a.name == "channels_last" and a.i for a in node.attribute)


def _node(
    operator: str, node: "onnx.NodeProto", inputs: list[str], output: str | None = None, **attributes: Any
) -> "onnx.NodeProto":
    from onnx import helper

    return helper.make_node(operator, inputs, [output or node.output[0]], name=node.name, **attributes)


def _kept(node: "onnx.NodeProto", *names: str) -> dict[str, Any]:
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name in names}


_WINDOW: Final = ("auto_pad", "kernel_shape", "pads", "strides")


def _same(node: "onnx.NodeProto", types: Types) -> "onnx.NodeProto":
    """Elementwise on the first input."""
    return _node("Identity", node, [node.input[0]])


def _convolution(*places: int) -> _Make:
    kept = (*_WINDOW, "dilations", "group")
    return lambda node, types: _node("Conv", node, [node.input[place] for place in places], **_kept(node, *kept))


def _pool(node: "onnx.NodeProto", types: Types) -> "onnx.NodeProto":
    return _node("AveragePool", node, [node.input[0]], **_kept(node, *_WINDOW, "ceil_mode"))


def _concatenated(node: "onnx.NodeProto", types: Types) -> "onnx.NodeProto":
    """After the result's scale and zero point, each input with its own two."""
    return _node("Concat", node, list(node.input[2::3]), **_kept(node, "axis"))


def _global_pool(node: "onnx.NodeProto", types: Types) -> "onnx.NodeProto":
    return _node("GlobalAveragePool", node, [node.input[0]])


def _gemm(*places: int) -> _Make:
    def make(node: "onnx.NodeProto", types: Types) -> "onnx.NodeProto":
        return _node("Gemm", node, [node.input[p] for p in places], **_kept(node, "transA", "transB"))

    return make


def _product(*places: int) -> _Make:
    return lambda node, types: _node("MatMul", node, [node.input[place] for place in places])


def _broadcast(*places: int) -> _Make:
    return lambda node, types: _node("Sum", node, [node.input[place] for place in places])


def _last_becomes(attribute: str) -> _Make:
    """The first input with as many columns as an attribute says."""

    def make(node: "onnx.NodeProto", types: Types) -> "onnx.NodeProto | None":
        columns = next((a.i for a in node.attribute if a.name == attribute), 0)
        return _replaced_last(node, types, columns)

    return make


def _fused_product(node: "onnx.NodeProto", types: Types) -> "onnx.NodeProto | None":
    flags = {a.name: a.i for a in node.attribute if a.name.startswith("trans")}
    if flags.get("transBatchA") or flags.get("transBatchB"):
        return None
    if not flags.get("transA") and not flags.get("transB"):
        return _node("MatMul", node, list(node.input[:2]))
    shapes = []
    for name, flag in zip(node.input[:2], ("transA", "transB"), strict=True):
        sizes = sizes_of(types.get(name))
        if sizes is None or len(sizes) < 2:
            return None
        shapes.append((*sizes[:-2], sizes[-1], sizes[-2]) if flags.get(flag) else sizes)
    batch = max((shape[:-2] for shape in shapes), key=len)
    if any(len(s) > 2 and s[:-2] != batch for s in shapes):
        return None
    return _of_shape(node, (*batch, shapes[0][-2], shapes[1][-1]))


def _attention(node: "onnx.NodeProto", types: Types) -> "onnx.NodeProto | None":
    """(batch, steps, 3 heads) projected: as many columns as a third of the weights' or as `qkv_hidden_sizes` say."""
    weights = sizes_of(types.get(node.input[1]))
    own = next((list(a.ints) for a in node.attribute if a.name == "qkv_hidden_sizes"), [])
    columns = own[2] if len(own) == 3 else None
    if columns is None and weights and weights[-1] is not None:
        columns = weights[-1] // 3
    return _replaced_last(node, types, columns or 0)


def _embedding(node: "onnx.NodeProto", types: Types) -> "onnx.NodeProto | None":
    ids, table = sizes_of(types.get(node.input[0])), sizes_of(types.get(node.input[2]))
    return None if ids is None or table is None else _of_shape(node, (*ids, table[-1]))


def _lstm(node: "onnx.NodeProto", types: Types) -> "onnx.NodeProto | None":
    """(steps, directions, batch, hidden) as of LSTM, whose weights lie the other way round here."""
    x, weights = sizes_of(types.get(node.input[0])), sizes_of(types.get(node.input[2]))
    if x is None or weights is None or len(x) != 3 or len(weights) != 3 or weights[2] is None:
        return None
    return _of_shape(node, (x[0], weights[0], x[1], weights[2] // 4 if weights[1] is None else weights[1]))


def _replaced_last(node: "onnx.NodeProto", types: Types, columns: int) -> "onnx.NodeProto | None":
    sizes = sizes_of(types.get(node.input[0]))
    return _of_shape(node, (*sizes[:-1], columns)) if sizes and columns > 0 else None


def _of_shape(node: "onnx.NodeProto", sizes: tuple[int | None, ...]) -> "onnx.NodeProto | None":
    """Random numbers of that shape: the standard operator that takes a shape as an attribute."""
    from onnx import helper

    if any(size is None for size in sizes):
        return None
    return helper.make_node("RandomUniform", [], list(node.output[:1]), name=node.name, shape=sizes, dtype=_FLOAT)


_LIKE: Final[Mapping[str, _Make]] = {
    "Attention": _attention,
    "BiasAdd": _broadcast(0, 1),
    "BiasGelu": _same,
    "BiasSoftmax": _same,
    "DequantizeLinear": _same,
    "DynamicQuantizeLSTM": _lstm,
    "DynamicQuantizeMatMul": _product(0, 1),
    "EmbedLayerNormalization": _embedding,
    "FastGelu": _same,
    "FusedConv": _convolution(0, 1),
    "FusedGemm": _gemm(0, 1),
    "FusedMatMul": _fused_product,
    "Gelu": _same,
    "GemmFloat8": _gemm(0, 1),
    "MatMulBnb4": _last_becomes("N"),
    "MatMulIntegerToFloat": _product(0, 1),
    "MatMulNBits": _last_becomes("N"),
    "QAttention": _attention,
    "QGemm": _gemm(0, 3),
    "QLinearAdd": _broadcast(0, 3),
    "QLinearAveragePool": _pool,
    "QLinearConcat": _concatenated,
    "QLinearConv": _convolution(0, 3),
    "QLinearGlobalAveragePool": _global_pool,
    "QLinearLeakyRelu": _same,
    "QLinearMul": _broadcast(0, 3),
    "QLinearSigmoid": _same,
    "QLinearSoftmax": _same,
    "QuantizeLinear": _same,
    "QuickGelu": _same,
    "RotaryEmbedding": _same,
    "SimplifiedLayerNormalization": _same,
    "SkipLayerNormalization": _same,
    "SkipSimplifiedLayerNormalization": _same,
}
