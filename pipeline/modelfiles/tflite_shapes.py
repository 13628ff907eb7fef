"""What is known of TFLite operators' results: shapes where the file leaves them open, and values that shapes decide."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.followed import Known, NotKnown
from pipeline.modelfiles.graph import Shape
from pipeline.modelfiles.tflite_rules import RULES, Options

_MOST_VALUES: Final = 1024


def follow(operator: str, inputs: Sequence[Known], options: Options, results: int) -> list[Known]:
    """What is known of the results of an operator; nothing where there is no rule for it.

    Raises ModelFileError where the inputs' shapes do not fit each other.
    """
    rule = RULES.get(operator)
    if rule is None:
        return [Known()] * results
    try:
        shapes = list(rule(inputs, options))[:results]
    except ModelFileError:
        raise
    except (NotKnown, IndexError, ZeroDivisionError, ValueError):  # ValueError: too few or too many sizes
        shapes = []
    found = [Known(shape) for shape in shapes] + [Known()] * (results - len(shapes))
    if operator in _FOLDED and results == 1:
        return [replace(found[0], values=_folded(operator, inputs, options, found[0].shape))]
    return found


def _folded(operator: str, inputs: Sequence[Known], options: Options, shape: Shape | None) -> Any:
    import numpy as np

    if operator == "SHAPE":
        given = inputs[0].shape if inputs else None
        return None if given is None or None in given else np.asarray(given, np.int64)
    if shape is None or None in shape or math.prod(size or 0 for size in shape) > _MOST_VALUES:
        return None
    arrays = [known.values for known in inputs]
    if any(array is None for array in arrays):
        return None
    try:
        with np.errstate(all="ignore"):
            return np.asarray(_FOLDED[operator](arrays, options)).reshape(tuple(size or 0 for size in shape))
    except (ValueError, IndexError, TypeError):
        return None


def _strided_values(arrays: Sequence[Any], options: Options) -> Any:
    data, begins, ends, steps = arrays
    if data.ndim != 1 or len(begins) != 1:
        raise ValueError("only rows of numbers")
    begin = None if options["begin"] else int(begins[0])
    end = None if options["end"] else int(ends[0])
    return data[int(begins[0])] if options["shrink"] else data[begin : end : int(steps[0])]


def _ranged(arrays: Sequence[Any]) -> Any:
    import numpy as np

    return np.arange(*(array.reshape(-1)[0] for array in arrays))


def _packed_values(arrays: Sequence[Any], options: Options) -> Any:
    import numpy as np

    return np.stack(arrays, options["axis"])


def _concatenated_values(arrays: Sequence[Any], options: Options) -> Any:
    import numpy as np

    return np.concatenate(arrays, options["axis"])


# Reshaped by the caller to the shape that the rule above gives.
_FOLDED: Final[Mapping[str, Callable[[Sequence[Any], Options], Any]]] = {
    "ADD": lambda a, o: a[0] + a[1],
    "CAST": lambda a, o: a[0],
    "CONCATENATION": _concatenated_values,
    "DIV": lambda a, o: a[0] / a[1],
    "EXPAND_DIMS": lambda a, o: a[0],
    "FLOOR_DIV": lambda a, o: a[0] // a[1],
    "GATHER": lambda a, o: a[0].take(a[1].astype(int), o["axis"]),
    "MAXIMUM": lambda a, o: a[0].clip(min=a[1]),
    "MINIMUM": lambda a, o: a[0].clip(max=a[1]),
    "MUL": lambda a, o: a[0] * a[1],
    "NEG": lambda a, o: -a[0],
    "PACK": _packed_values,
    "RANGE": lambda a, o: _ranged(a),
    "REDUCE_PROD": lambda a, o: a[0].prod(tuple(int(axis) for axis in a[1].reshape(-1)), keepdims=bool(o["keep_dims"])),
    "RESHAPE": lambda a, o: a[0],
    "SHAPE": lambda a, o: a[0],
    "SQUEEZE": lambda a, o: a[0],
    "STRIDED_SLICE": _strided_values,
    "SUB": lambda a, o: a[0] - a[1],
}
