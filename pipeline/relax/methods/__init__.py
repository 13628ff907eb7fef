"""The methods that relax the space."""

from collections.abc import Callable, Mapping
from typing import Final

from pipeline.relax.method import Method
from pipeline.relax.methods.single_path import SinglePath
from pipeline.search.settings import Relaxing
from pipeline.supernets.supernet import Supernet

METHODS: Final[Mapping[Relaxing, Callable[[Supernet], Method]]] = {
    "single-path": SinglePath,
}
