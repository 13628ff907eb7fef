"""What every MIL operator is given, and how its attributes are read."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

Arguments = Mapping[str, Any]
Operator = Callable[[Arguments], Any]


def ints(value: Any) -> list[int]:
    """The whole numbers of a scalar, list or array, flat."""
    return [int(item) for item in np.asarray(value).reshape(-1)]


def tensor(value: Any) -> Tensor:
    """`value` as a tensor."""
    return value if isinstance(value, Tensor) else torch.as_tensor(value)


def pairs_from_last(pads: list[int]) -> list[int]:
    """MIL lists before and after per axis from the first; torch wants them from the last."""
    pairs = [pads[i : i + 2] for i in range(0, len(pads), 2)]
    return [value for pair in reversed(pairs) for value in pair]
