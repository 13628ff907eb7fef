"""Errors of this package: one clear line each, with the exit code that a command should end with."""


class TableError(ValueError):
    """Something about a latency table, a device or a block is wrong; the message says what to do."""

    exit_code = 2


class MeasurementError(TableError):
    """A device could not be measured (unreachable, lost, or it answered nonsense)."""

    exit_code = 3


class DeviceLost(MeasurementError):  # it says what happened
    """The connection to a device ended, or it died, in the middle of a measurement: trying again may help."""
