"""Variances as means, which every converter has: some know no variance, others the wrong correction.

Imports torch: import lazily.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def variances() -> dict[Any, Any]:
    """For `ExportedProgram.run_decompositions`: every way to ask for a variance or a standard deviation."""
    aten = torch.ops.aten
    found: dict[Any, Any] = {aten._native_batch_norm_legit.no_stats: _normalised}
    for of_two, of_one, result in (
        (aten.var_mean, aten.var, _variance),
        (aten.std_mean, aten.std, _deviation),
    ):
        found |= dict.fromkeys((of_one.correction, of_one.dim, of_one.default), result)
        found |= dict.fromkeys((of_two.correction, of_two.dim, of_two.default), _with_mean(result))
    return found


def without_variances(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The program with means in their place; the same one where it has none."""
    parts = variances()
    if not any(node.target in parts for node in program.graph.nodes):
        return program
    decomposed: torch.export.ExportedProgram = program.run_decompositions(parts)
    return decomposed


def _variance(
    values: Tensor,
    dim: Sequence[int] | bool | None = None,
    unbiased: bool = True,
    keepdim: bool = False,
    correction: float | None = None,
) -> Tensor:
    """`dim` is `unbiased` where torch's oldest form is called, var(values, unbiased)."""
    if isinstance(dim, bool):
        return _variance(values, None, dim)
    dims = _axes(values, dim)
    apart = values - values.mean(dims, keepdim=True)
    squared = (apart * apart).mean(dims, keepdim=keepdim)
    count = math.prod(values.shape[axis] for axis in dims)
    lost = float(unbiased) if correction is None else correction
    # A mean first: coremltools takes a sum that is divided by nearly as many numbers for one.
    return squared * (count / (count - lost)) if lost else squared


def _axes(values: Tensor, dim: Sequence[int] | bool | None) -> list[int]:
    """Those that are asked for; all where none are."""
    return list(range(values.dim())) if isinstance(dim, bool) or not dim else list(dim)


def _deviation(*arguments: Any, **named: Any) -> Tensor:
    return _variance(*arguments, **named).sqrt()


def _with_mean(result: Any) -> Any:
    def both(values: Tensor, *arguments: Any, **named: Any) -> tuple[Tensor, Tensor]:
        spread = result(values, *arguments, **named)
        dims = _axes(values, arguments[0] if arguments else named.get("dim"))
        return spread, values.mean(dims, keepdim=spread.dim() == values.dim())

    return both


def _normalised(
    values: Tensor, weight: Tensor | None, bias: Tensor | None, training: bool, momentum: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalisation by the values' own mean and variance, as weight standardisation is often written."""
    dims = [axis for axis in range(values.dim()) if axis != 1]
    mean = values.mean(dims, keepdim=True)
    scale = torch.rsqrt(_variance(values, dims, unbiased=False, keepdim=True) + eps)
    found = (values - mean) * scale
    shape = [-1 if axis == 1 else 1 for axis in range(values.dim())]
    if weight is not None:
        found = found * weight.reshape(shape)
    if bias is not None:
        found = found + bias.reshape(shape)
    return found, mean.flatten(), scale.flatten()
