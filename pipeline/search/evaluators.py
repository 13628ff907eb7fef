"""How candidates are judged: one protocol, and the fidelities that are never mixed in one ranking."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pipeline.errors import PipelineError

FIDELITIES: Final = ("inherited", "fine-tuned", "from-scratch", "table", "predictor")


class Evaluator(Protocol):
    """Judges networks. `fidelity` says in which way; scores of two fidelities are not compared."""

    @property
    def fidelity(self) -> str: ...

    def evaluate(self, archs: Sequence[Any], /) -> list[float]:
        """One score per network, higher is better; a share of 1 where it is an accuracy.

        The networks are what the candidate space decodes to: `Architecture`s for a search space.
        """


@dataclass(frozen=True, slots=True)
class Scored:
    """An evaluator made of a function, such as the scores of a supernet's subnets."""

    fidelity: str
    score: Callable[[Sequence[Any]], Sequence[float]]

    def __post_init__(self) -> None:
        if self.fidelity not in FIDELITIES:
            raise PipelineError(f"fidelity {self.fidelity!r} is unknown; known are {', '.join(FIDELITIES)}")

    def evaluate(self, archs: Sequence[Any], /) -> list[float]:
        """The function's scores as plain numbers; PipelineError unless there is one per network."""
        scores = [float(score) for score in self.score(archs)]
        if len(scores) != len(archs):
            raise PipelineError(f"an evaluator returned {len(scores)} scores for {len(archs)} networks")
        return scores


def table_evaluator(table: Mapping[str, float]) -> Scored:
    """Scores looked up by `str(arch)`; PipelineError for a network that the table lacks."""

    def score(archs: Sequence[Any]) -> list[float]:
        missing = [str(arch) for arch in archs if str(arch) not in table]
        if missing:
            raise PipelineError(f"the table has no score for {', '.join(missing)}")
        return [table[str(arch)] for arch in archs]

    return Scored("table", score)
