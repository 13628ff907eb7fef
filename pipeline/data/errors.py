"""What is wrong with images or labels, in one line."""

from pipeline.errors import PipelineError


class DataError(PipelineError):
    """Images or labels that cannot be used; the message names the file, class or column."""


def some(names: list[str] | tuple[str, ...], most: int = 10) -> str:
    """The first `most` names, quoted, and how many more there are."""
    told = ", ".join(repr(name) for name in names[:most])
    return told + (f" and {len(names) - most} more" if len(names) > most else "")
