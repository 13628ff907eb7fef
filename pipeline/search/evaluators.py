"""How candidates are judged: one protocol, and fidelities that are never mixed in one ranking.

What needs torch imports it when it is built.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, get_args, runtime_checkable

from pipeline.errors import PipelineError
from pipeline.search.score_log import Numbers, ScoreLog
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.space import SearchSpace

if TYPE_CHECKING:
    from pipeline.fewshot.prefix import JudgingImages
    from pipeline.ranking.private_tuning import PrivateTuning
    from pipeline.supernets.data import TrainingData
    from pipeline.supernets.settings import TrainSettings
    from pipeline.supernets.supernet import Supernet

Fidelity = Literal["inherited", "fine-tuned", "from-scratch", "table", "ranker"]
FIDELITIES: Final[tuple[Fidelity, ...]] = get_args(Fidelity)


Report = Callable[[int, float], None]  # epochs trained, score; it may raise to stop the training


class Evaluator(Protocol):
    """Judges networks. `fidelity` says in which way; scores of two fidelities are not compared."""

    @property
    def fidelity(self) -> str: ...

    def evaluate(self, archs: Sequence[Any], /) -> list[float]:
        """One score per network, higher is better; a share of 1 where it is an accuracy.

        The networks are what the candidate space decodes to: `Architecture`s for a search space.
        """


@runtime_checkable
class Watched(Evaluator, Protocol):
    """An evaluator that trains, and tells on the way how good each network is."""

    @property
    def epochs(self) -> int:
        """How long a network is trained at most."""

    def watched(self, arch: Any, report: Report, /) -> float:
        """The score of `arch` as `evaluate` gives it; `report` is called at 1, 3, 9, … epochs and at the end."""


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


class Remembered:
    """An evaluator that never judges a network twice: scores are kept in `file`, with the seconds that each took.

    Methods that are compared meet the same networks; and what was killed continues.
    """

    def __init__(self, inner: Evaluator, file: Path) -> None:
        self.inner = inner
        self._log = ScoreLog(file, "score", "seconds")

    @property
    def fidelity(self) -> str:
        """As the inner evaluator's."""
        return self.inner.fidelity

    def evaluate(self, archs: Sequence[Any], /) -> list[float]:
        """One score per network, judged only where it is not known yet."""
        for arch in self.unknown(archs):
            self.keep(self.judged(arch))
        known = self._log.known()
        return [known[str(arch)]["score"] for arch in archs]

    def unknown(self, archs: Sequence[Any]) -> list[Any]:
        """Those that have no score yet, each once."""
        known = self._log.known()
        return [arch for arch in dict.fromkeys(archs) if str(arch) not in known]

    def judged(self, arch: Any) -> dict[str, Numbers]:
        """The entry of one network, judged now and not kept yet."""
        return self._timed(arch, lambda: self.inner.evaluate([arch])[0])

    def _timed(self, arch: Any, judge: Callable[[], float]) -> dict[str, Numbers]:
        began = time.perf_counter()
        score = judge()
        return {str(arch): {"score": score, "seconds": round(time.perf_counter() - began, 6)}}

    def keep(self, entry: Mapping[str, Numbers]) -> None:
        """Write down what `judged` returned, here or in another process."""
        self._log.add(entry)

    def seconds(self, archs: Iterable[str]) -> float:
        """How long it took to judge these networks, each once, when they were first met."""
        known = self._log.known()
        return sum(known[arch]["seconds"] for arch in archs)


def fine_tuned(
    supernet_of: "Callable[[Architecture], Supernet]",
    data: "TrainingData",
    judging: "JudgingImages",
    tuning: "PrivateTuning",
) -> Evaluator:
    """Minus the cross-entropy (nats) after some batches without sharing, from inherited weights."""
    from pipeline.ranking.private_tuning import privately_tuned

    def score(archs: Sequence[Architecture]) -> list[float]:
        return [-privately_tuned(supernet_of(arch), [arch], data, judging, tuning)[0].cross_entropy for arch in archs]

    return Scored("fine-tuned", score)


def from_scratch(
    space: SearchSpace,
    data: "TrainingData",
    judging: "JudgingImages",
    settings: "TrainSettings",
    folder: Path,
) -> Watched:
    """Accuracy of each network trained alone from random weights: the ground truth, and slow."""
    from pipeline.search.from_scratch import FromScratch

    return FromScratch(space, data, judging, settings, folder)
