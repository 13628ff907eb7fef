"""The methods that relax the space."""

from collections.abc import Callable, Mapping
from typing import Final

from pipeline.relax.method import Method
from pipeline.relax.methods.bayesnas import BayesNAS
from pipeline.relax.methods.darts import Darts, FBNet, SecondOrderDarts
from pipeline.relax.methods.darts_pt import DartsPT
from pipeline.relax.methods.single_path import SinglePath
from pipeline.search.settings import Relaxing
from pipeline.supernets.supernet import Supernet

METHODS: Final[Mapping[Relaxing, Callable[[Supernet], Method]]] = {
    "single-path": SinglePath,
    "darts": Darts,
    "darts-2nd": SecondOrderDarts,
    "darts-pt": DartsPT,
    "fbnet": FBNet,
    "bayesnas": BayesNAS,
}
