"""What a report shows, as plain data. Every part may be empty: the page then says so instead of drawing it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from latency_tables.blocks import Block, BlockError
from pipeline.gate.results import CheckResult


@dataclass(frozen=True, slots=True)
class Point:
    """A network with a known latency and accuracy (share of 1); `name` is shown when it is pointed at."""

    name: str
    latency_ms: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One architecture that the search asked for; `accuracy` is None where it was not judged (infeasible)."""

    number: int
    name: str
    latency_ms: float
    accuracy: float | None
    feasible: bool


@dataclass(frozen=True, slots=True)
class BlockLatency:
    """What one block of the winner adds to its latency, in network order. `name` is a block's key, or any other."""

    name: str
    ms: float
    macs: int

    @property
    def label(self) -> str:
        """Short enough for an axis: kind, kernel, expansion, channels, size of the image."""
        try:
            block = Block.parse(self.name)
        except BlockError:
            return self.name
        kernel = f" {block.kernel}×{block.kernel}" if block.kind in ("conv", "mbconv") else ""
        expand = f" e{block.mid_channels / block.in_channels:.3g}" if block.kind == "mbconv" else ""
        squeeze = " SE" if block.se_channels else ""
        stride = f"/{block.stride}" if block.stride > 1 else ""
        channels = f" {block.in_channels}→{block.out_channels}"
        return f"{block.kind}{kernel}{expand}{squeeze}{channels} @{block.in_size}{stride}"


@dataclass(frozen=True, slots=True)
class Pair:
    """A network's latency as the table predicts it and as the device measured it."""

    name: str
    predicted_ms: float
    measured_ms: float


@dataclass(frozen=True, slots=True)
class ShownTableError:
    """How far the latency table was from `networks` whole networks that it was not made from.

    95 % of them took between `low` and `high` times what was predicted.
    """

    networks: int
    mean_percent: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RankEvidence:
    """How well `proxy` orders networks as training them does: Kendall's tau with a 95 % interval."""

    proxy: str
    kendall_tau: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One exported file and what running it showed; `status` of its parity."""

    format: str
    precision: str
    path: str
    size_mb: float
    status: Literal["passed", "failed", "not run"]
    reason: str = ""
    by: str = ""
    max_abs_diff: float | None = None
    top1_agreement: float | None = None
    accuracy_after: float | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class RandomBaseline:
    """Accuracies of random architectures inside the budget, trained as the winner was; `compared_accuracy` is the
    winner's after as long a training, where it was trained on afterwards."""

    accuracies: tuple[float, ...]
    improvement_percent: float
    improvement_low: float
    improvement_high: float
    compared_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class ShownWinner:
    """The network that the run chose. Accuracy is that of the test split, which was read once."""

    arch: str
    accuracy: float
    macs: int
    params: int
    predicted_ms: float
    predicted_interval: tuple[float, float] | None = None
    measured_ms: float | None = None


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """How long a stage of the run took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Published:
    """A published network that was trained as the winner was; `improvement` of the winner in shares of 1."""

    name: str
    accuracy: float
    improvement: float
    low: float
    high: float
    linear_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Pickable:
    """A network that a person may look at: `blocks` are places in `Networks.kinds`, in network order.

    `how`: what its accuracy is. `command` builds it; empty where the run has built it.
    """

    name: str
    latency_ms: float
    accuracy: float
    how: str
    macs: int
    params: int
    blocks: tuple[int, ...]
    on_front: bool = False
    command: str = ""


@dataclass(frozen=True, slots=True)
class Networks:
    """Networks by rising latency, the distinct blocks that they are made of, and what belongs to no block."""

    kinds: tuple[BlockLatency, ...]
    networks: tuple[Pickable, ...]
    fixed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Mistake:
    """A test image that the winner gets wrong, as an encoded picture of `media` type. `probability` is of `answer`."""

    picture: bytes
    media: Literal["image/png", "image/jpeg"]
    truth: str
    answer: str
    probability: float
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What the winner says of the test split. `confusion` counts images, shape (classes, classes): true by said."""

    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    mistakes: tuple[Mistake, ...] = ()


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The end of an epoch of a training; `accuracy` (shares of 1) by the name of what was judged, empty for none."""

    epoch: float
    loss: float | None
    learning_rate: float | None = None
    accuracy: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """One training by epoch."""

    name: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """How many images of how many classes each split has."""

    train: int
    search: int
    test: int
    classes: int


@dataclass(frozen=True, slots=True)
class ReportData:
    """A whole run.

    `budget` maps limits to their value (`latency_ms`, `macs`, `params`, `size_mb`, `accuracy`). `tried` are the
    search's networks in order; their accuracy is that of the search split with inherited weights, which is not
    the winner's. Of `random_points` and `finalists`, which were trained to the end, it is that of the test split.
    `path` is the run's folder as commands name it, `space` that of its search space.
    """

    title: str
    data: str
    device: str
    winner: ShownWinner
    budget: Mapping[str, float]
    tried: tuple[Trial, ...] = ()
    baseline: RandomBaseline | None = None
    random_points: tuple[Point, ...] = ()
    finalists: tuple[Point, ...] = ()
    published: Published | None = None
    networks: Networks | None = None
    answers: Answers | None = None
    curves: tuple[Curve, ...] = ()
    images: ImageCounts | None = None
    path: str = ""
    space: str = ""
    blocks: tuple[BlockLatency, ...] = ()
    fixed_ms: float = 0.0
    pairs: tuple[Pair, ...] = ()
    table_error: ShownTableError | None = None
    ranks: tuple[RankEvidence, ...] = ()
    exports: tuple[ExportRow, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    stages: tuple[StageSeconds, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()


def front(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """The points that no other beats in both latency and accuracy, by rising latency."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.latency_ms, -p.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return tuple(best)
