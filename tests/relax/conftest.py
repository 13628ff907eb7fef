"""The small space and images of the supernets' tests."""

from tests.supernets.conftest import squeezed_space, tiny_data, tiny_space

__all__ = ["squeezed_space", "tiny_data", "tiny_space"]
