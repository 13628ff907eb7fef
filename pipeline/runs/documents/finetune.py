"""What stage `finetune` writes: every network that was trained to the end, and the winner among them."""

from typing import Annotated, Self

from pydantic import Field

from pipeline.runs.documents.base import Document, Interval, Milliseconds, Part, Share


class Lengths(Document):
    """`winner/lengths.json`: epochs of every network that is trained alone, and of the best afterwards.

    How many `candidates` and `randoms` there was time for when the first round began; how many of the latter were
    `drawn` after the former had shown what they take. What is None has not been decided yet.
    """

    epochs: Annotated[float, Field(gt=0)]
    candidates: Annotated[int, Field(ge=0)] = 0
    randoms: Annotated[int, Field(ge=0)] = 0
    drawn: Annotated[int, Field(ge=0)] | None = None
    further_epochs: Annotated[float, Field(ge=0)] | None = None


class TrainedNetwork(Document):
    """`winner/trained/<name>.json`: a network that was trained to the end, judged by the search split.

    `int8_accuracy` is that of its int8 file, where the device computes so; `aware` says that the last epochs simulated
    quantisation.
    """

    arch: str
    search_accuracy: Share
    epochs: float
    seconds: Annotated[float, Field(ge=0)] = 0.0  # in the unit of the run's time; 0 where they are not this run's
    int8_accuracy: Share | None = None
    aware: bool = False


class SearchQuantisation(Part):
    """Shares of the search split that a network gets right: before and after quantisation, and its int8 file after
    training with quantisation simulated, where it lost enough for that."""

    fp32: Share
    int8: Share
    aware_int8: Share | None = None


class WinnerQuantisation(Part):
    """What int8 cost the winner: `fp32_accuracy` on the test split of the weights that were chosen, beside the run's
    own figures, which are the int8 file's; `aware` where these weights were trained with quantisation simulated, and
    in words why or why not."""

    fp32_accuracy: Share
    aware: bool
    reason: str
    search: SearchQuantisation


class TrainedEntry(Part):
    """Such a network among all of a run; `scores` are what was known of it before, higher is better.

    Accuracies are those of the device's precision. `quantisation` is what int8 cost it on the search split.
    """

    role: str
    arch: str
    search_accuracy: Share
    test_accuracy: Share
    epochs: float
    scores: dict[str, float]
    quantisation: "SearchQuantisation | None" = None


class RandomBaseline(Part):
    """Random networks of the same budget and recipe beside the winner; without any, `n` is 0 and `reason` tells why."""

    n: int
    accuracies: list[Share]
    compared_accuracy: Share | None = None  # of the winner, before it was trained for longer than they were
    mean_accuracy: Share | None
    std_accuracy: float | None
    relative_improvement_percent: float | None
    relative_improvement_ci95: tuple[float, float] | None
    improvement_shown: bool
    verdict: str = ""
    reason: str = ""

    @classmethod
    def left_out(cls, reason: str) -> Self:
        """No comparison, and why."""
        return cls(
            n=0,
            accuracies=[],
            mean_accuracy=None,
            std_accuracy=None,
            relative_improvement_percent=None,
            relative_improvement_ci95=None,
            improvement_shown=False,
            reason=reason,
        )


class PublishedBaseline(Part):
    """The published network scaled to the budget, trained as the winner was; `improvement` is the winner's accuracy
    minus its own, paired over the test images."""

    arch: str
    accuracy: Share
    macs: int
    latency_ms: Milliseconds
    improvement: float
    improvement_ci95: tuple[float, float]
    verdict: str


class LinearBaseline(Part):
    """A linear classifier on the features of the published network scaled to the budget, nothing else trained."""

    arch: str
    accuracy: Share
    images: int


class WinnerFile(Document):
    """`winner/winner.json`: the network that was chosen, its only look at the test split, and all beside it.

    Accuracies are those of `precision`, in which the device computes; `quantisation` tells what that cost.
    """

    arch: str
    origin: str = "candidate"
    accuracy: Share
    precision: str = "fp32"
    quantisation: WinnerQuantisation | None = None
    macs: int
    params: int
    predicted_ms: Milliseconds
    predicted_interval_ms: Interval
    random_baseline: RandomBaseline
    published_baseline: PublishedBaseline | None = None
    linear_baseline: LinearBaseline | None = None
    trained: list[TrainedEntry]


class AnswersFile(Document):
    """`winner/answers.json`: of each test image, in the order of `data/test.npy`, the class that the winner gave it
    and how probable it took that to be."""

    classes: list[Annotated[int, Field(ge=0)]]
    probabilities: list[Share]
