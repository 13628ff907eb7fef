"""What a search is told, as plain data: read from a run's config without loading Optuna."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from pipeline.errors import PipelineError

Method = Literal[
    "guided", "tpe", "nsga2", "rea", "reinforce", "zoph", "ppo", "mnasnet", "weaknas", "ofa", "local", "random"
]
# Methods of pipeline.relax: they train a relaxation of the space and propose what it ends as.
Relaxing = Literal["single-path", "darts", "darts-2nd", "darts-pt", "fbnet", "bayesnas"]
Objective = Literal["accuracy", "front"]
Pruner = Literal["none", "hyperband"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
RELAXING: Final[tuple[Relaxing, ...]] = get_args(Relaxing)
OBJECTIVES: Final[tuple[Objective, ...]] = get_args(Objective)
PRUNERS: Final[tuple[Pruner, ...]] = get_args(Pruner)


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Which method spends how many evaluations. `front` looks for the best accuracy at every latency.

    `subject` is a hash of what scores depend on beside space and limits (images, weights): studies of two subjects
    are never mixed. Empty where the evaluator is the same for everybody. `pruner` stops trainings that fall behind,
    where the evaluator is a `Watched` one; "tpe" with "hyperband" is BOHB (Falkner et al. 2018).
    """

    method: Method | Relaxing = "guided"
    evaluations: int = 100
    seed: int = 0
    workers: int = 1
    objective: Objective = "accuracy"
    subject: str = ""
    pruner: Pruner = "none"

    def __post_init__(self) -> None:
        if self.method not in (*METHODS, *RELAXING):
            raise PipelineError(
                f"search method {self.method!r} is unknown; known are {', '.join((*METHODS, *RELAXING))}"
            )
        if self.objective not in OBJECTIVES:
            raise PipelineError(f"objective {self.objective!r} is unknown; known are {', '.join(OBJECTIVES)}")
        if self.pruner not in PRUNERS:
            raise PipelineError(f"search pruner {self.pruner!r} is unknown; known are {', '.join(PRUNERS)}")
        if self.pruner != "none" and self.objective != "accuracy":
            raise PipelineError(f"search pruner {self.pruner!r} compares one number; use the objective accuracy")
        for name in ("evaluations", "workers"):
            if getattr(self, name) < 1:
                raise PipelineError(f"search {name} = {getattr(self, name)} must be at least 1")


def relaxing(method: Method | Relaxing) -> Relaxing | None:
    """`method` where it is one that relaxes the space, else None."""
    return next((name for name in RELAXING if name == method), None)
