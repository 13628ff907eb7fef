"""Operators that move numbers without changing them, and those that make shapes and indices."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor

from exporters.coreml.mil.arguments import Arguments, Operator, ints, tensor


def _reshape(a: Arguments) -> Tensor:
    x = tensor(a["x"])
    # 0 copies the size of the same axis, -1 is what remains.
    shape = [x.shape[i] if size == 0 else size for i, size in enumerate(ints(a["shape"]))]
    return x.reshape(shape)


def _squeeze(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    return x.squeeze(tuple(ints(a["axes"]))) if a.get("axes") is not None else x.squeeze()


def _expand_dims(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    for axis in sorted(ints(a["axes"])):
        x = x.unsqueeze(axis)
    return x


def _concat(a: Arguments) -> Tensor:
    parts, axis = [tensor(value) for value in a["values"]], int(a["axis"])
    if a.get("interleave"):
        return torch.stack(parts, dim=axis + 1 if axis >= 0 else axis).flatten(axis, axis + 1)
    return torch.cat([part.reshape(1) if part.dim() == 0 else part for part in parts], dim=axis)  # sizes of a shape


def _transpose(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    return x.permute(ints(a["perm"]))


def _slice_by_index(a: Arguments) -> Tensor:
    x = tensor(a["x"])
    begin, end = ints(a["begin"]), ints(a["end"])
    stride = ints(a["stride"]) if a.get("stride") is not None else [1] * x.ndim
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
    x, axis = tensor(a["x"]), int(a["axis"])
    if a.get("split_sizes") is not None:
        return tuple(torch.split(x, ints(a["split_sizes"]), dim=axis))
    return tuple(torch.chunk(x, int(a["num_splits"]), dim=axis))


def _gather(a: Arguments) -> Tensor:
    x, indices = tensor(a["x"]), tensor(a["indices"]).long()
    axis = int(a.get("axis", 0))
    picked = torch.index_select(x, axis, indices.reshape(-1))
    return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _gather_nd(a: Arguments) -> Tensor:
    x, indices, batch = tensor(a["x"]), tensor(a["indices"]).long(), int(a.get("batch_dims", 0))
    if batch:
        pairs = zip(x.flatten(0, batch - 1), indices.flatten(0, batch - 1), strict=True)
        picked = torch.stack([part[tuple(where.movedim(-1, 0))] for part, where in pairs])
        return picked.reshape(*x.shape[:batch], *picked.shape[1:])
    return x[tuple(indices.movedim(-1, 0))]


def _slice_by_size(a: Arguments) -> Tensor:
    x = tensor(a["x"])
    for axis, (begin, size) in enumerate(zip(ints(a["begin"]), ints(a["size"]), strict=True)):
        x = x.narrow(axis, begin, x.shape[axis] - begin if size == -1 else size)
    return x


def _flatten2d(a: Arguments) -> Tensor:
    x, axis = tensor(a["x"]), int(a.get("axis", 1))
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


def _topk(a: Arguments) -> tuple[Tensor, Tensor]:
    x, axis = tensor(a["x"]), int(a.get("axis", -1))
    values, places = torch.topk(x, int(a["k"]), dim=axis, largest=not bool(a.get("ascending", False)))
    return values, places.int()


def _fill(a: Arguments) -> Tensor:
    return torch.full(ints(a["shape"]), float(a.get("value", 0.0)))


SHAPES: Final[Mapping[str, Operator]] = {
    "concat": _concat,
    "expand_dims": _expand_dims,
    "fill": _fill,
    "fill_like": lambda a: torch.full_like(tensor(a["ref_tensor"]), a.get("value", 0)),
    "flatten2d": _flatten2d,
    "gather": _gather,
    "gather_along_axis": lambda a: torch.gather(a["x"], int(a.get("axis", 0)), tensor(a["indices"]).long()),
    "gather_nd": _gather_nd,
    "identity": lambda a: a["x"],
    "range_1d": lambda a: torch.arange(a["start"], a["end"], a["step"]),
    "reshape": _reshape,
    "reverse": lambda a: torch.flip(a["x"], ints(a["axes"]) if a.get("axes") is not None else list(range(a["x"].ndim))),
    "shape": lambda a: torch.tensor(a["x"].shape, dtype=torch.int32),
    "slice_by_index": _slice_by_index,
    "slice_by_size": _slice_by_size,
    "split": _split,
    "squeeze": _squeeze,
    "stack": lambda a: torch.stack([tensor(value) for value in a["values"]], dim=int(a["axis"])),
    "tile": lambda a: tensor(a["x"]).repeat(ints(a["reps"])),
    "topk": _topk,
    "transpose": _transpose,
}
