"""The models of the gate's tests, read here as files."""

from tests.gate.conftest import tiny

__all__ = ["tiny"]
