"""The shapes of a model's inputs: what the file fixes, completed by what the user tells."""

from collections.abc import Mapping, Sequence

from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.graph import Shape


def require_known(shapes: Mapping[str, tuple[int, ...]], inputs: Sequence[str]) -> None:
    """ModelFileError for a shape of an input that the model does not have."""
    for name in shapes:
        if name not in inputs:
            raise ModelFileError(f"the model has no input {name!r}; its inputs are {', '.join(inputs)}")


def fixed_shape(name: str, declared: Shape | None, wanted: tuple[int, ...] | None) -> Shape | None:
    """The shape of an input for one image: as `wanted`, else as declared with 1 for an open first size, the batch.

    Raises ModelFileError where the file says something else than `wanted`.
    """
    if wanted is None:
        return declared if not declared or declared[0] is not None else (1, *declared[1:])
    if declared is None:
        return wanted
    if len(declared) != len(wanted) or any(d not in (None, w) for d, w in zip(declared, wanted, strict=True)):
        raise ModelFileError(
            f"input_shapes says {name} = {list(wanted)}, but the file says {written(declared)}, where ? is open"
        )
    return wanted


def written(shape: Shape | None) -> str:
    """[1, 3, ?, ?] with ? for what is open."""
    return "?" if shape is None else f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
