"""Errors of reading model files: one clear line each."""

from pipeline.errors import PipelineError


class ModelFileError(PipelineError):
    """A model file that cannot be read or used; the message says what is accepted."""


class Contradiction(ModelFileError):
    """Shapes in a graph that cannot all be true: such a graph, or such a branch of one, cannot run."""
