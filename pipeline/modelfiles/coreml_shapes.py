"""Shapes of MIL operations' results where a Core ML program leaves them open, and values that shapes decide."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pipeline.modelfiles.coreml_rules import RULES, Given
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.followed import Known, NotKnown


def follow(operator: str, given: Given) -> list[Known]:
    """What is known of the results, fewer than there are where nothing is.

    Raises ModelFileError where the inputs' shapes do not fit each other.
    """
    rule = RULES.get(operator)
    if rule is None:
        return []
    try:
        shapes = rule(given)
        value = _FOLDED[operator](given) if operator in _FOLDED else None
    except ModelFileError:
        raise
    except (NotKnown, IndexError, ZeroDivisionError, ValueError, TypeError):
        return []
    if value is not None and len(shapes) == 1 and shapes[0] is not None and None not in shapes[0]:
        return [Known(shapes[0], value.reshape(tuple(size or 0 for size in shapes[0])))]
    return [Known(shape) for shape in shapes]


def _values(given: Given, name: str) -> Any:
    value = given.known(name).values
    if value is None:
        raise NotKnown
    return value


def _shape_value(given: Given) -> Any:
    import numpy as np

    shape = given.shape()
    return None if None in shape else np.asarray(shape)


def _joined_value(given: Given) -> Any:
    import numpy as np

    values = [known.values for known in given.tensors["values"]]
    return None if any(value is None for value in values) else np.concatenate([value.reshape(-1) for value in values])


def _sliced_value(given: Given) -> Any:
    value = _values(given, "x")
    if value.ndim != 1:
        return None
    begin, end = given.whole("begin")[0], given.whole("end")[0]
    masks = [given.whole(f"{name}_mask", [0])[0] for name in ("begin", "end", "squeeze")]
    if masks[2]:
        return value[begin]
    return value[None if masks[0] else begin : None if masks[1] else end : given.whole("stride", [1])[0]]


def _gathered_value(given: Given) -> Any:
    return _values(given, "x").take(given.whole("indices"))


# What stands between a `shape` and a `reshape`; rows and single numbers only.
_FOLDED: Final[Mapping[str, Callable[[Given], Any]]] = {
    "add": lambda g: _optional(g, lambda x, y: x + y),
    "cast": lambda g: g.known("x").values,
    "concat": _joined_value,
    "expand_dims": lambda g: g.known("x").values,
    "floor_div": lambda g: _optional(g, lambda x, y: x // y),
    "gather": lambda g: None if g.known("x").values is None else _gathered_value(g),
    "mul": lambda g: _optional(g, lambda x, y: x * y),
    "reshape": lambda g: g.known("x").values,
    "shape": _shape_value,
    "slice_by_index": lambda g: None if g.known("x").values is None else _sliced_value(g),
    "squeeze": lambda g: g.known("x").values,
    "sub": lambda g: _optional(g, lambda x, y: x - y),
}


def _optional(given: Given, compute: Callable[[Any, Any], Any]) -> Any:
    x, y = given.known("x").values, given.known("y").values
    return None if x is None or y is None or max(x.size, y.size) > 64 else compute(x, y)
