"""ONNX tensor types and shapes."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import onnx

STANDARD_DOMAINS: Final = ("", "ai.onnx")


def sizes_of(kind: "onnx.TypeProto | None") -> tuple[int | None, ...] | None:
    """The shape of a tensor type: None for an open size, and for a shape of unknown rank. 0 is a size, -1 is open."""
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    sizes = kind.tensor_type.shape.dim
    return tuple(s.dim_value if s.HasField("dim_value") and s.dim_value >= 0 else None for s in sizes)


def tensor_type(element: int, sizes: "tuple[int | None, ...] | None") -> "onnx.TypeProto":
    """A tensor type of elements of a kind; None as in `sizes_of`."""
    from onnx import helper

    return helper.make_tensor_type_proto(element, sizes)


def merged(one: "onnx.TypeProto | None", other: "onnx.TypeProto | None") -> "onnx.TypeProto | None":
    """What is true of a tensor that has one of two types."""
    a, b = sizes_of(one), sizes_of(other)
    if one is None or other is None:
        return None
    if a is None or b is None or len(a) != len(b):
        return tensor_type(one.tensor_type.elem_type, None)
    sizes = tuple(x if x == y else None for x, y in zip(a, b, strict=True))
    return tensor_type(one.tensor_type.elem_type, sizes)
