"""Compressed weights as MIL programs store them."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from exporters.coreml.mil.arguments import Arguments, Operator, ints


def _affine_dequantize(a: Arguments) -> Tensor:
    data = np.asarray(a["quantized_data"])
    shape = [1] * data.ndim
    shape[int(a["axis"])] = -1
    scale = np.asarray(a["scale"], dtype=np.float32)
    zero = np.asarray(a["zero_point"], dtype=np.float32)
    if scale.ndim:
        scale = scale.reshape(shape)
    if zero.ndim:
        zero = zero.reshape(shape)
    return torch.from_numpy(((data.astype(np.float32) - zero) * scale).astype(np.float32))


def _blockwise_shift_scale(a: Arguments) -> Tensor:
    data = np.asarray(a["data"]).astype(np.float32)
    scale = np.asarray(a["scale"], dtype=np.float32)
    offset = a.get("offset")
    if offset is not None:
        data = data - _blocks(np.asarray(offset, dtype=np.float32), data.shape)
    return torch.from_numpy(data * _blocks(scale, data.shape))


def _blocks(values: Any, shape: tuple[int, ...]) -> Any:
    """One value a block, repeated until it covers `shape`."""
    for axis, size in enumerate(shape):
        values = np.repeat(values, size // values.shape[axis], axis=axis)
    return values


def _lut_to_dense(a: Arguments) -> Tensor:
    """iOS 16 packs indices into bytes with a flat table; iOS 18 stores indices and one table a block."""
    lut = np.asarray(a["lut"], dtype=np.float32)
    indices = np.asarray(a["indices"])
    if a.get("shape") is None:
        tables = lut.reshape(*lut.shape[: indices.ndim], -1)
        if tables[..., 0].size != 1:
            full = np.stack([_blocks(tables[..., i], indices.shape) for i in range(tables.shape[-1])], axis=-1)
            return torch.from_numpy(np.take_along_axis(full, indices[..., None].astype(np.int64), -1)[..., 0])
        return torch.from_numpy(tables.reshape(-1)[indices.astype(np.int64)])
    shape = ints(a["shape"])
    bits = int(np.log2(lut.size))
    unpacked = np.unpackbits(indices.astype(np.uint8), bitorder="little")[: int(np.prod(shape)) * bits]
    weights = (1 << np.arange(bits)).astype(np.int64)
    positions = unpacked.reshape(-1, bits).astype(np.int64) @ weights
    return torch.from_numpy(lut.reshape(-1)[positions].reshape(shape))


WEIGHTS: Final[Mapping[str, Operator]] = {
    "constexpr_affine_dequantize": _affine_dequantize,
    "constexpr_blockwise_shift_scale": _blockwise_shift_scale,
    "constexpr_lut_to_dense": _lut_to_dense,
}
