"""Errors of this package: one clear line each, with the exit code that a command should end with."""


class ExportError(ValueError):
    """A network could not be exported or a file could not be verified; the message says what to do."""

    exit_code = 2


class UnknownTarget(ExportError):
    """A target that no exporter serves."""


class WrongInput(ExportError):
    """Images, options or metadata that the network or the format cannot take."""


class MissingDependency(ExportError):
    """A tool that is not installed; the message carries the pip line that installs it."""


class UnsupportedOperator(ExportError):
    """The network uses an operator that the format, or this package's interpreter of it, lacks."""


class ConversionFailed(ExportError):
    """The tool of a format gave up, crashed, or wrote something other than what was asked for."""


class CannotRun(ExportError):
    """A file that this machine cannot execute; its parity is then "not run", never "passed"."""

    exit_code = 3


class RunFailed(ExportError):
    """A file that crashed its runtime, or made it hang or raise: damaged, or not what its name says."""


class ParityError(ExportError):
    """A written file does not compute what the network computes, within its precision's thresholds."""

    exit_code = 1


class NotWritten(ExportError):
    """The folder cannot be written or the disk is full."""
