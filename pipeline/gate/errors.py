"""Errors of the gate: one clear line each, with the exit code that the command should end with."""

from pipeline.errors import PipelineError


class GateError(PipelineError):
    """A budget, baseline or model file that cannot be used; the message says what is accepted."""


class CannotMeasure(GateError):
    """A latency that could not be taken or predicted here."""

    exit_code = 3
