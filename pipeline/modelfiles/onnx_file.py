"""ONNX files on the disk: the message inside, and whether its weights are really there."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.stored import beside, read_file

if TYPE_CHECKING:
    import onnx

_LARGEST: Final = 2_147_483_647  # bytes of one protocol buffer
# Kinds that share a byte, by the bits of one element; all others come from numpy.
_BITS: Final = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}


def load_model(path: Path) -> "onnx.ModelProto":
    """The model at `path`, its weights stored beside it left where they are.

    Raises ModelFileError where it is no ONNX file, or is one whose weights are not what it declares.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    model = onnx.ModelProto()
    try:
        model.ParseFromString(read_file(path, _LARGEST))
    except DecodeError:
        raise ModelFileError(f"{path} is not an ONNX file") from None
    if not model.graph.node:
        raise ModelFileError(f"{path} is not an ONNX model: it has no operators")
    for tensor in tensors(model.graph):
        _require_whole(tensor, path)
    return model


def external_files(model: "onnx.ModelProto", folder: Path) -> tuple[Path, ...]:
    """Files beside the model that hold weights.

    Raises ModelFileError for one that is missing, outside the folder, a Git LFS pointer or shorter than declared.
    """
    from onnx import TensorProto

    needed: dict[str, int] = {}
    for tensor in tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        told = {entry.key: entry.value for entry in tensor.external_data}
        if not told.get("location"):
            raise ModelFileError(f"the weights of {tensor.name!r} are in no file")
        begin, length = _number(told, "offset", tensor), _number(told, "length", tensor)
        declared = _bytes(tensor)
        if length and length != declared:
            raise ModelFileError(
                f"the weights of {tensor.name!r} are {length:,} bytes in {told['location']}, "
                f"but its shape needs {declared:,}"
            )
        needed[told["location"]] = max(needed.get(told["location"], 0), begin + declared)
    files = []
    for name, length in sorted(needed.items()):
        file = beside(folder, name)
        if file.stat().st_size < length:
            raise ModelFileError(
                f"weights file {file} has {file.stat().st_size:,} bytes, but the model declares at least {length:,}"
            )
        files.append(file)
    return tuple(files)


def tensors(graph: "onnx.GraphProto") -> Iterator["onnx.TensorProto"]:
    """All stored tensors, those of inner graphs too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from tensors(attribute.g)
            for inner in attribute.graphs:
                yield from tensors(inner)


def kind_of(tensor: "onnx.TensorProto") -> str:
    """The name of a tensor's data type, in capitals. Raises ModelFileError for a number that is none."""
    from onnx import TensorProto

    try:
        return str(TensorProto.DataType.Name(tensor.data_type))
    except ValueError:
        raise ModelFileError(f"{tensor.name!r} has the unknown data type {tensor.data_type}") from None


def _bytes(tensor: "onnx.TensorProto") -> int:
    """Bytes that the elements of a tensor take. Raises ModelFileError for sizes or kinds that cannot be."""
    from onnx import helper

    kind = kind_of(tensor)
    if any(size < 0 for size in tensor.dims):
        raise ModelFileError(f"{tensor.name!r} has the shape {list(tensor.dims)}; no size may be negative")
    elements: int = math.prod(tensor.dims)
    if kind in _BITS:
        return -(-elements * _BITS[kind] // 8)
    if kind in ("STRING", "UNDEFINED"):
        return 0
    return elements * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _require_whole(tensor: "onnx.TensorProto", path: Path) -> None:
    """ModelFileError unless as many numbers are stored as the shape has."""
    from onnx import TensorProto, helper

    declared = _bytes(tensor)
    if tensor.data_location == TensorProto.EXTERNAL or kind_of(tensor) in _BITS:
        return
    if tensor.HasField("raw_data"):
        stored, unit = len(tensor.raw_data), "bytes"
    else:
        if kind_of(tensor) == "UNDEFINED":
            raise ModelFileError(f"{path}: {tensor.name!r} has no data type")
        field = helper.tensor_dtype_to_field(tensor.data_type)
        stored, unit, declared = len(getattr(tensor, field)), "numbers", math.prod(tensor.dims)
        if kind_of(tensor).startswith("COMPLEX"):
            declared *= 2
    if stored != declared:
        raise ModelFileError(
            f"{path}: {tensor.name!r} has {stored:,} {unit} of weights, "
            f"but its shape {list(tensor.dims)} needs {declared:,}"
        )


def _number(told: dict[str, str], key: str, tensor: "onnx.TensorProto") -> int:
    text = told.get(key) or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ModelFileError(f"the weights of {tensor.name!r} have the {key} {text[:40]!r}; accepted is a whole number")
    return int(text)
