"""The small space and images of the supernets' tests."""

from tests.supernets.conftest import tiny_data, tiny_space

__all__ = ["tiny_data", "tiny_space"]
