"""What half precision costs a network, in whatever file it is written. Imports torch: import lazily."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from exporters.deployed import expected_outputs
from exporters.request import Array, ExportRequest, usual_range

ONE_ROUNDING: Final = 2**-10 / 12**0.5  # evenly spread over the step from one number to the next


class _Half(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Every operator's result is rounded to fp16; what it adds up, it adds up in fp32."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return tree_map(_rounded, func(*args, **(kwargs or {})))


def _rounded(value: Any) -> Any:
    single = isinstance(value, torch.Tensor) and value.dtype == torch.float32
    return value.half().float() if single else value


def half_precision_error(request: ExportRequest, expected: Array) -> float:
    """Root mean square of what the outputs change by where every weight and every operator's result is rounded to
    fp16, as a fraction of their usual range; infinite where fp16 cannot hold a number of the network's.

    `expected` are the outputs (n, classes) in fp32.
    """
    network = copy.deepcopy(request.network)
    try:
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.data = _rounded(tensor.data)
        with _Half():  # type: ignore[no-untyped-call]
            outputs = expected_outputs(replace(request, network=network, programs={}))
    except Exception:  # a network may do what such a mode does not pass through: nothing is known then
        return float("inf")
    error = float(np.sqrt(np.mean((outputs.astype(np.float64) - expected) ** 2))) / usual_range(expected)
    return max(error, ONE_ROUNDING) if np.isfinite(error) else float("inf")
