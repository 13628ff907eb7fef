"""Operators that slide over an image: convolutions, pooling, padding, resizing."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from exporters.coreml.mil.arguments import Arguments, Operator, ints, pairs_from_last, tensor


def _padded(a: Arguments, x: Tensor, window: list[int], strides: list[int], fill: float = 0.0) -> Tensor:
    """`x` (n, c, h, w) with its spatial axes padded as pad_type says."""
    kind = a.get("pad_type", "valid")
    if kind == "valid":
        return x
    if kind == "custom":
        pads = ints(a["pad"])
    else:  # "same": out = ceil(in / stride), the odd pixel after (before, for "same_lower")
        pads = []
        for size, width, stride in zip(x.shape[2:], window, strides, strict=True):
            total = max((-(-size // stride) - 1) * stride + width - size, 0)
            small, large = total // 2, total - total // 2
            pads += [large, small] if kind == "same_lower" else [small, large]
    return functional.pad(x, pairs_from_last(pads), value=fill)


def _conv(a: Arguments) -> Tensor:
    weight = a["weight"]
    spatial = weight.ndim - 2
    strides = ints(a.get("strides", [1] * spatial))
    dilations = ints(a.get("dilations", [1] * spatial))
    window = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilations, strict=True)]
    x = _padded(a, a["x"], window, strides)
    convolve = {1: functional.conv1d, 2: functional.conv2d}[spatial]
    result: Tensor = convolve(x, weight, a.get("bias"), strides, 0, dilations, int(a.get("groups", 1)))
    return result


def _max_pool(a: Arguments) -> Tensor:
    window = ints(a["kernel_sizes"])
    strides = ints(a.get("strides", [1] * len(window)))
    x = _padded(a, a["x"], window, strides, fill=float("-inf"))
    return functional.max_pool2d(x, window, strides, ceil_mode=bool(a.get("ceil_mode", False)))


def _avg_pool(a: Arguments) -> Tensor:
    window = ints(a["kernel_sizes"])
    strides = ints(a.get("strides", [1] * len(window)))
    ceil = bool(a.get("ceil_mode", False))
    total = functional.avg_pool2d(_padded(a, a["x"], window, strides), window, strides, ceil_mode=ceil)
    if not a.get("exclude_padding_from_average", False):
        return total
    inside = _padded(a, torch.ones_like(a["x"]), window, strides)
    return total / functional.avg_pool2d(inside, window, strides, ceil_mode=ceil)


def _conv_transpose(a: Arguments) -> Tensor:
    weight = a["weight"]
    spatial = weight.ndim - 2
    strides, dilations = ints(a.get("strides", [1] * spatial)), ints(a.get("dilations", [1] * spatial))
    pads = ints(a["pad"]) if a.get("pad_type", "valid") == "custom" else [0] * (2 * spatial)
    groups = int(a.get("groups", 1))
    transposed = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d}[spatial]
    full: Tensor = transposed(a["x"], weight, a.get("bias"), strides, 0, 0, groups, dilations)
    wanted = ints(a["output_shape"])[2:] if a.get("output_shape") is not None else None
    for axis in range(spatial):
        before, after = pads[2 * axis], pads[2 * axis + 1]
        size = wanted[axis] if wanted is not None else full.shape[2 + axis] - before - after
        if before + size > full.shape[2 + axis]:  # output padding: rows that no window reaches
            grown = [0] * (2 * full.ndim)
            grown[2 * (2 + axis) + 1] = before + size - full.shape[2 + axis]
            full = functional.pad(full, pairs_from_last(grown))
            if a.get("bias") is not None:
                shape = [1, -1] + [1] * spatial
                tail = full.narrow(2 + axis, before + size - grown[2 * (2 + axis) + 1], grown[2 * (2 + axis) + 1])
                tail += a["bias"].reshape(shape)
        full = full.narrow(2 + axis, before, size)
    return full


def _pad(a: Arguments) -> Tensor:
    pads = ints(a["pad"])
    mode = a.get("mode", "constant")
    if mode == "constant":
        return functional.pad(tensor(a["x"]), pairs_from_last(pads), value=float(a.get("constant_val", 0.0)))
    x = tensor(a["x"])
    padded = x.ndim - len(pads) // 2  # the axes in front of these stay
    while padded < x.ndim and pads[:2] == [0, 0]:
        pads, padded = pads[2:], padded + 1
    flat = x.reshape(1, -1, *x.shape[padded:])
    result = functional.pad(flat, pairs_from_last(pads), mode="replicate" if mode == "replicate" else "reflect")
    return result.reshape(*x.shape[:padded], *result.shape[2:])


def _scales(a: Arguments) -> tuple[float, float]:
    return float(a.get("scale_factor_height", 1)), float(a.get("scale_factor_width", 1))


def _upsample_nearest(a: Arguments) -> Tensor:
    return functional.interpolate(tensor(a["x"]), scale_factor=_scales(a), mode="nearest")


def _upsample_bilinear(a: Arguments) -> Tensor:
    """With half-pixel centres unless corners are aligned (or `half_pixel_centers` says otherwise)."""
    x, (height, width) = tensor(a["x"]), _scales(a)
    size = (int(x.shape[-2] * height + 1e-6), int(x.shape[-1] * width + 1e-6))
    if bool(a.get("align_corners", True)):
        return functional.interpolate(x, size=size, mode="bilinear", align_corners=True)
    if a.get("half_pixel_centers") is False:
        return _bilinear_at(x, [torch.arange(n) * (m / n) for n, m in zip(size, x.shape[-2:], strict=True)])
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _resize_bilinear(a: Arguments) -> Tensor:
    x = tensor(a["x"])
    size = (int(a["target_size_height"]), int(a["target_size_width"]))
    mode = str(a.get("sampling_mode", "DEFAULT"))
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        return functional.interpolate(x, size=size, mode="bilinear", align_corners=True)
    if mode == "UNALIGN_CORNERS":
        return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
    steps = [
        (m - m / n) / max(n - 1, 1) if mode == "DEFAULT" else m / n for n, m in zip(size, x.shape[-2:], strict=True)
    ]
    return _bilinear_at(x, [torch.arange(n) * step for n, step in zip(size, steps, strict=True)])


def _bilinear_at(x: Tensor, positions: list[Tensor]) -> Tensor:
    """Between the pixels of `x` (n, c, h, w) at these rows and columns."""
    for axis, places in zip((2, 3), positions, strict=True):
        last = x.shape[axis] - 1
        low = places.floor().long().clamp(0, last)
        share = (places.clamp(0, last) - low).reshape([-1, 1] if axis == 2 else [-1]).float()
        high = (low + 1).clamp(max=last)
        x = x.index_select(axis, low) * (1 - share) + x.index_select(axis, high) * share
    return x


def _resize_nearest(a: Arguments) -> Tensor:
    size = (int(a["target_size_height"]), int(a["target_size_width"]))
    return functional.interpolate(tensor(a["x"]), size=size, mode="nearest")


def _depth_to_space(a: Arguments) -> Tensor:
    """Channels are (block row, block column, channel), unlike PyTorch's pixel shuffle."""
    x, block = tensor(a["x"]), int(a["block_size"])
    n, c, h, w = x.shape
    parts = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // block**2, h * block, w * block)


def _space_to_depth(a: Arguments) -> Tensor:
    x, block = tensor(a["x"]), int(a["block_size"])
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * block**2, h // block, w // block)


def _l2_pool(a: Arguments) -> Tensor:
    window = ints(a["kernel_sizes"])
    strides = ints(a.get("strides", [1] * len(window)))
    x = _padded(a, a["x"], window, strides)
    total = functional.avg_pool2d(x.square(), window, strides, divisor_override=1)
    return total.sqrt()


WINDOWS: Final[Mapping[str, Operator]] = {
    "avg_pool": _avg_pool,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "depth_to_space": _depth_to_space,
    "l2_pool": _l2_pool,
    "max_pool": _max_pool,
    "pad": _pad,
    "pixel_shuffle": lambda a: functional.pixel_shuffle(a["x"], int(a["upscale_factor"])),
    "pixel_unshuffle": lambda a: functional.pixel_unshuffle(a["x"], int(a["downscale_factor"])),
    "resize_bilinear": _resize_bilinear,
    "resize_nearest_neighbor": _resize_nearest,
    "space_to_depth": _space_to_depth,
    "upsample_bilinear": _upsample_bilinear,
    "upsample_nearest_neighbor": _upsample_nearest,
}
