"""Multiplications of one executed ONNX node, from the arrays that went in and came out."""

import math
from collections.abc import Callable
from typing import Any


def _flag(given: dict[str, Any], name: str) -> int:
    return int(given[name].i) if name in given else 0


def _gemm(a: Any, out: Any, given: dict[str, Any]) -> int:
    return int(out.size * a.shape[0 if _flag(given, "transA") else 1])


def _fused_matmul(i: list[Any], o: list[Any], g: dict[str, Any]) -> int:
    return int(o[0].size * i[0].shape[-2 if _flag(g, "transA") else -1])


def _attention(i: list[Any], o: list[Any], g: dict[str, Any]) -> int:
    batch, steps, features = i[0].shape
    hidden = i[1].shape[1] // 3
    return int(batch * steps * features * i[1].shape[1] + 2 * batch * steps * steps * hidden)


def _contracted(i: list[Any], o: list[Any], g: dict[str, Any]) -> int:
    """A letter in one operand only is summed first; without a common one nothing is summed up."""
    text = g["equation"].s.decode().replace(" ", "")
    left, result = text.split("->")
    one, two = left.split(",")
    sizes = dict(zip(one, i[0].shape, strict=True)) | dict(zip(two, i[1].shape, strict=True))
    summed = (set(one) & set(two)) - set(result)
    return math.prod(sizes[c] for c in {*result, *(set(one) & set(two))}) if summed else 0


Counted = Callable[[list[Any], list[Any], dict[str, Any]], int]
ONNX_COUNTERS: dict[str, Counted] = {
    "Conv": lambda i, o, g: o[0].size * i[1].size // i[1].shape[0],
    "FusedConv": lambda i, o, g: o[0].size * i[1].size // i[1].shape[0],
    "ConvInteger": lambda i, o, g: o[0].size * i[1].size // i[1].shape[0],
    "QLinearConv": lambda i, o, g: o[0].size * i[3].size // i[3].shape[0],
    "ConvTranspose": lambda i, o, g: i[0].size * i[1].size // i[1].shape[0],
    "MatMul": lambda i, o, g: o[0].size * i[0].shape[-1],
    "MatMulInteger": lambda i, o, g: o[0].size * i[0].shape[-1],
    "MatMulIntegerToFloat": lambda i, o, g: o[0].size * i[0].shape[-1],
    "DynamicQuantizeMatMul": lambda i, o, g: o[0].size * i[0].shape[-1],
    "QLinearMatMul": lambda i, o, g: o[0].size * i[0].shape[-1],
    "FusedMatMul": _fused_matmul,
    "MatMulNBits": lambda i, o, g: o[0].size * g["K"].i,
    "Gemm": lambda i, o, g: _gemm(i[0], o[0], g),
    "FusedGemm": lambda i, o, g: _gemm(i[0], o[0], g),
    "QGemm": lambda i, o, g: _gemm(i[0], o[0], g),
    "LSTM": lambda i, o, g: i[0].shape[0] * i[0].shape[1] * (i[1].size + i[2].size),
    "GRU": lambda i, o, g: i[0].shape[0] * i[0].shape[1] * (i[1].size + i[2].size),
    "RNN": lambda i, o, g: i[0].shape[0] * i[0].shape[1] * (i[1].size + i[2].size),
    "DynamicQuantizeLSTM": lambda i, o, g: i[0].shape[0] * i[0].shape[1] * (i[1].size + i[2].size),
    "Attention": _attention,
    "QAttention": _attention,
    "Einsum": _contracted,
}
