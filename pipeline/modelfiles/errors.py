"""Errors of reading model files: one clear line each."""

from pipeline.errors import PipelineError


class ModelFileError(PipelineError):
    """A model file that cannot be read or used; the message says what is accepted."""


class Contradiction(ModelFileError):
    """Shapes in a graph that cannot all be true: such a graph, or such a branch of one, cannot run."""


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line; its class where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
