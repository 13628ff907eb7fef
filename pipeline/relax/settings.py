"""What a relaxation is told, as plain data: read from a run's configuration without loading torch."""

from dataclasses import dataclass
from typing import Final

from pipeline.errors import PipelineError
from pipeline.search.settings import RELAXING, Method, Relaxing, relaxing
from pipeline.spaces.space import SearchSpace


@dataclass(frozen=True, slots=True)
class RelaxSettings:
    """Which method trains for how long. `epochs` counts images by the size of the data: a method that trains its
    weights and its gates on different images makes half as many steps. `lr` is the peak for the weights."""

    method: Relaxing = "single-path"
    epochs: float = 8.0
    batch_size: int = 64
    lr: float = 0.02
    weight_decay: float = 3e-5
    seed: int = 0
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.method not in RELAXING:
            raise PipelineError(f"method {self.method!r} does not relax the space; known are {', '.join(RELAXING)}")
        for name, low, high in (("epochs", 0.0, 1e6), ("batch_size", 2, 1 << 20), ("lr", 0.0, 1e3)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise PipelineError(f"relaxation setting {name} is {value}; accepted is {low:g} to {high:g}")


def relaxing_passes(method: Method | Relaxing, space: SearchSpace) -> float:
    """Images with a backward pass for each image of `RelaxSettings.epochs`, on average; 0 of a method that does not
    relax. Gates over several resolutions learn from two of them at a time."""
    known = relaxing(method)
    return 0.0 if known is None else _PASSES[known] * (2 if len(space.resolutions) > 1 else 1)


_PASSES: Final[dict[Relaxing, float]] = {
    "single-path": 1.0,
    "darts": 1.0,
    "darts-2nd": 2.5,
    "darts-pt": 1.0,  # and its judging, which has no backward pass
    "fbnet": 1.0,
    "bayesnas": 1.1,
}
