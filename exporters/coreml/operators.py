"""What each MIL operator that image classifiers use computes, in torch.

Semantics: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Arguments = Mapping[str, Any]
Operator = Callable[[Arguments], Any]


def _ints(value: Any) -> list[int]:
    return [int(item) for item in np.asarray(value).reshape(-1)]


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.as_tensor(value)


def _padded(a: Arguments, x: Tensor, window: list[int], strides: list[int], fill: float = 0.0) -> Tensor:
    """`x` (n, c, h, w) with its spatial axes padded as pad_type says."""
    kind = a.get("pad_type", "valid")
    if kind == "valid":
        return x
    if kind == "custom":
        pads = _ints(a["pad"])
    else:  # "same": out = ceil(in / stride), the odd pixel after (before, for "same_lower")
        pads = []
        for size, width, stride in zip(x.shape[2:], window, strides, strict=True):
            total = max((-(-size // stride) - 1) * stride + width - size, 0)
            small, large = total // 2, total - total // 2
            pads += [large, small] if kind == "same_lower" else [small, large]
    # MIL lists before and after per axis from the first; torch wants them from the last.
    pairs = [pads[i : i + 2] for i in range(0, len(pads), 2)]
    return functional.pad(x, [value for pair in reversed(pairs) for value in pair], value=fill)


def _conv(a: Arguments) -> Tensor:
    weight = a["weight"]
    spatial = weight.ndim - 2
    strides = _ints(a.get("strides", [1] * spatial))
    dilations = _ints(a.get("dilations", [1] * spatial))
    window = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilations, strict=True)]
    x = _padded(a, a["x"], window, strides)
    convolve = {1: functional.conv1d, 2: functional.conv2d}[spatial]
    result: Tensor = convolve(x, weight, a.get("bias"), strides, 0, dilations, int(a.get("groups", 1)))
    return result


def _max_pool(a: Arguments) -> Tensor:
    window = _ints(a["kernel_sizes"])
    strides = _ints(a.get("strides", [1] * len(window)))
    x = _padded(a, a["x"], window, strides, fill=float("-inf"))
    return functional.max_pool2d(x, window, strides, ceil_mode=bool(a.get("ceil_mode", False)))


def _avg_pool(a: Arguments) -> Tensor:
    window = _ints(a["kernel_sizes"])
    strides = _ints(a.get("strides", [1] * len(window)))
    ceil = bool(a.get("ceil_mode", False))
    total = functional.avg_pool2d(_padded(a, a["x"], window, strides), window, strides, ceil_mode=ceil)
    if not a.get("exclude_padding_from_average", False):
        return total
    inside = _padded(a, torch.ones_like(a["x"]), window, strides)
    return total / functional.avg_pool2d(inside, window, strides, ceil_mode=ceil)


def _reduce(reduction: Callable[..., Tensor]) -> Operator:
    def reduce(a: Arguments) -> Tensor:
        axes = _ints(a["axes"]) if a.get("axes") is not None else list(range(a["x"].ndim))
        return reduction(a["x"], dim=axes, keepdim=bool(a.get("keep_dims", False)))

    return reduce


def _reshape(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    # 0 copies the size of the same axis, -1 is what remains.
    shape = [x.shape[i] if size == 0 else size for i, size in enumerate(_ints(a["shape"]))]
    return x.reshape(shape)


def _binary(operation: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda a: operation(_tensor(a["x"]), _tensor(a["y"]))


def _unary(operation: Callable[[Tensor], Tensor]) -> Operator:
    return lambda a: operation(a["x"])


def _thresholded_relu(a: Arguments) -> Tensor:
    x = a["x"]
    return torch.where(x >= float(a.get("alpha", 1.0)), x, torch.zeros_like(x))


def _sigmoid_hard(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    return (float(a.get("alpha", 0.2)) * x + float(a.get("beta", 0.5))).clamp(0, 1)


def _prelu(a: Arguments) -> Tensor:
    return functional.prelu(a["x"], a["alpha"])


def _gelu(a: Arguments) -> Tensor:
    mode, x = a.get("mode", "EXACT"), _tensor(a["x"])
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return functional.gelu(x, approximate="tanh" if mode == "TANH_APPROXIMATION" else "none")


def _batch_norm(a: Arguments) -> Tensor:
    return functional.batch_norm(
        a["x"], a["mean"], a["variance"], a.get("gamma"), a.get("beta"), eps=float(a.get("epsilon", 1e-5))
    )


def _matmul(a: Arguments) -> Tensor:
    x, y = _tensor(a["x"]), _tensor(a["y"])
    x = x.transpose(-1, -2) if a.get("transpose_x") else x
    y = y.transpose(-1, -2) if a.get("transpose_y") else y
    return x @ y


def _linear(a: Arguments) -> Tensor:
    return functional.linear(a["x"], a["weight"], a.get("bias"))


def _clip(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    return x.clamp(float(a["alpha"]), float(a["beta"]))


def _squeeze(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    return x.squeeze(tuple(_ints(a["axes"]))) if a.get("axes") is not None else x.squeeze()


def _expand_dims(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    for axis in sorted(_ints(a["axes"])):
        x = x.unsqueeze(axis)
    return x


def _pad(a: Arguments) -> Tensor:
    pads = _ints(a["pad"])
    pairs = [pads[i : i + 2] for i in range(0, len(pads), 2)]
    flat = [value for pair in reversed(pairs) for value in pair]
    mode = a.get("mode", "constant")
    if mode == "constant":
        return functional.pad(a["x"], flat, value=float(a.get("constant_val", 0.0)))
    return functional.pad(a["x"], flat[:4], mode=mode)


def _classify(a: Arguments) -> tuple[str, Tensor]:
    probabilities: Tensor = a["probabilities"]
    classes = [str(getattr(item, "val", item)) for item in a["classes"]]
    return classes[int(probabilities.reshape(-1).argmax())], probabilities


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
    shape = _ints(a["shape"])
    bits = int(np.log2(lut.size))
    unpacked = np.unpackbits(indices.astype(np.uint8), bitorder="little")[: int(np.prod(shape)) * bits]
    weights = (1 << np.arange(bits)).astype(np.int64)
    positions = unpacked.reshape(-1, bits).astype(np.int64) @ weights
    return torch.from_numpy(lut.reshape(-1)[positions].reshape(shape))


def _softmax(a: Arguments) -> Tensor:
    return functional.softmax(a["x"], dim=int(a.get("axis", -1)))


def _concat(a: Arguments) -> Tensor:
    return torch.cat([_tensor(value) for value in a["values"]], dim=int(a["axis"]))


def _transpose(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    return x.permute(_ints(a["perm"]))


def _slice_by_index(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    begin, end = _ints(a["begin"]), _ints(a["end"])
    stride = _ints(a["stride"]) if a.get("stride") is not None else [1] * x.ndim
    flags = [np.asarray(a.get(name, False)) for name in ("begin_mask", "end_mask", "squeeze_mask")]
    open_begin, open_end, squeeze = (np.broadcast_to(flag, x.ndim) for flag in flags)
    index: list[slice | int] = []
    for axis in range(x.ndim):
        if squeeze[axis]:
            index.append(begin[axis])
            continue
        first = None if open_begin[axis] else begin[axis]
        index.append(slice(first, None if open_end[axis] else end[axis], stride[axis]))
    return x[tuple(index)]


def _split(a: Arguments) -> tuple[Tensor, ...]:
    x, axis = _tensor(a["x"]), int(a["axis"])
    if a.get("split_sizes") is not None:
        return tuple(torch.split(x, _ints(a["split_sizes"]), dim=axis))
    return tuple(torch.chunk(x, int(a["num_splits"]), dim=axis))


def _gather(a: Arguments) -> Tensor:
    x, indices = _tensor(a["x"]), _tensor(a["indices"]).long()
    axis = int(a.get("axis", 0))
    picked = torch.index_select(x, axis, indices.reshape(-1))
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _layer_norm(a: Arguments) -> Tensor:
    x, axes = _tensor(a["x"]), _ints(a["axes"])
    centred = x - x.mean(axes, keepdim=True)
    variance = centred.square().mean(axes, keepdim=True)
    result = centred * torch.rsqrt(variance + float(a.get("epsilon", 1e-5)))
    result = result if a.get("gamma") is None else result * a["gamma"]
    return result if a.get("beta") is None else result + a["beta"]


def _upsample_nearest(a: Arguments) -> Tensor:
    scale = (float(a.get("scale_factor_height", 1)), float(a.get("scale_factor_width", 1)))
    return functional.interpolate(_tensor(a["x"]), scale_factor=scale, mode="nearest")


OPERATORS: Final[Mapping[str, Operator]] = {
    "abs": _unary(torch.abs),
    "add": _binary(torch.add),
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    # The type of the result is the variable's, which the interpreter rounds every result to.
    "cast": _unary(lambda x: x),
    "classify": _classify,
    "clip": _clip,
    "concat": _concat,
    "constexpr_affine_dequantize": _affine_dequantize,
    "constexpr_blockwise_shift_scale": _blockwise_shift_scale,
    "constexpr_lut_to_dense": _lut_to_dense,
    "conv": _conv,
    "elu": lambda a: functional.elu(a["x"], float(a.get("alpha", 1.0))),
    "exp": _unary(torch.exp),
    "expand_dims": _expand_dims,
    "gather": _gather,
    "gelu": _gelu,
    "layer_norm": _layer_norm,
    "leaky_relu": lambda a: functional.leaky_relu(a["x"], float(a.get("alpha", 0.01))),
    "linear": _linear,
    "matmul": _matmul,
    "max_pool": _max_pool,
    "maximum": _binary(torch.maximum),
    "minimum": _binary(torch.minimum),
    "mul": _binary(torch.mul),
    "pad": _pad,
    "pow": _binary(torch.pow),
    "prelu": _prelu,
    "real_div": _binary(torch.div),
    "reduce_max": _reduce(torch.amax),
    "reduce_mean": _reduce(torch.mean),
    "reduce_sum": _reduce(torch.sum),
    "relu": _unary(torch.relu),
    "reshape": _reshape,
    "rsqrt": lambda a: torch.rsqrt(a["x"] + float(a.get("epsilon", 1e-12))),
    "sigmoid": _unary(torch.sigmoid),
    "sigmoid_hard": _sigmoid_hard,
    "silu": _unary(functional.silu),
    "slice_by_index": _slice_by_index,
    "softmax": _softmax,
    "softplus": _unary(functional.softplus),
    "split": _split,
    "sqrt": _unary(torch.sqrt),
    "square": _unary(torch.square),
    "squeeze": _squeeze,
    "sub": _binary(torch.sub),
    "tanh": _unary(torch.tanh),
    "thresholded_relu": _thresholded_relu,
    "transpose": _transpose,
    "upsample_nearest_neighbor": _upsample_nearest,
}
