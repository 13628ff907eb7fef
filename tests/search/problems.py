"""Search problems with known answers, small enough to check by looking at every network."""

import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.budget import read_budget
from pipeline.search.costs import Costs, space_costs
from pipeline.search.evaluators import Scored
from pipeline.search.workers import Task
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes
from pipeline.spaces.files import load_space

SMALL = load_space("nas-bench-macro")  # 3,969 networks: enumerated
LARGE = load_space("ofa-mbv3-1.0")  # 1.5e20 networks: sampled


def costs_of(macs: str, space: str = "small") -> Costs:
    """The costs of one of the two spaces under a limit on MACs."""
    return space_costs(SMALL if space == "small" else LARGE, read_budget({"macs": macs}), {})


def merit(archs: Sequence[Architecture]) -> list[float]:
    """A stand-in for accuracy: more and larger layers score higher, some pairs of neighbours do better together."""
    scores = []
    for arch in archs:
        score = arch.resolution / 100
        for stage in arch.stages:
            score += sum(op.expand**0.5 + 0.1 * op.kernel for op in stage.ops)
            score += sum(0.4 for a, b in zip(stage.ops, stage.ops[1:], strict=False) if a != b)
        scores.append(score)
    return scores


MERIT = Scored("table", merit)


class Logged:
    """An evaluator that writes each judged network to a file, and takes its time."""

    fidelity = "table"

    def __init__(self, log: Path, seconds: float) -> None:
        self._log, self._seconds = log, seconds

    def evaluate(self, archs: Sequence[Architecture], /) -> list[float]:
        """The merit of each network."""
        time.sleep(self._seconds)
        with self._log.open("a") as stream:
            stream.writelines(f"{arch}\n" for arch in archs)
        return merit(archs)


def logged_task(log: Path, seconds: float, macs: str = "40M") -> Task:
    """A search of the small space whose evaluations are logged."""
    return Task(Codes(SMALL), costs_of(macs), Logged(log, seconds))


def failing_task(message: str) -> Task:
    """A search whose evaluator refuses."""
    from pipeline.errors import PipelineError

    def refuse(archs: Sequence[Architecture]) -> list[float]:
        raise PipelineError(message)

    return Task(Codes(SMALL), costs_of("40M"), Scored("table", refuse))
