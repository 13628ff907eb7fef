"""Errors of the pipeline: one clear line each, with the exit code that a command should end with."""


class PipelineError(ValueError):
    """Something the user gave is wrong; the message names it and says what is accepted."""

    exit_code = 2


class InfeasibleBudget(PipelineError):
    """No network of the space is inside the budget; the message tells the nearest reachable value."""

    exit_code = 1


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line; its class where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
