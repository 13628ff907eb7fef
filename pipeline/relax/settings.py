"""What a relaxation is told, as plain data: read from a run's configuration without loading torch."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from pipeline.errors import PipelineError

Relaxing = Literal["single-path"]
RELAXING: Final[tuple[Relaxing, ...]] = get_args(Relaxing)


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
