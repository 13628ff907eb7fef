"""The JSON files of a run folder, each as the one class that writes and reads it."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, field_validator

from exporters.manifest import Entry
from latency_tables.documents import read_model
from latency_tables.files import write_json
from latency_tables.table import Clock
from pipeline.errors import PipelineError
from pipeline.gate.results import CheckResult

Share = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0)]
Interval = tuple[Milliseconds | None, Milliseconds | None]


class RunError(PipelineError):
    """A run folder that cannot be used: foreign, corrupt, busy, or of another configuration."""


class Document(BaseModel):
    """A file of a run. Keys that a newer version may have added are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    schema_version: Literal[1] = 1

    @classmethod
    def load(cls, file: Path) -> Self:
        """What `file` holds. RunError where it is missing, corrupt or foreign."""
        try:
            return read_model(file, cls, RunError)
        except FileNotFoundError:
            raise RunError(f"{file} is missing; the stage that writes it has not finished") from None

    def save(self, file: Path) -> None:
        """Write it to `file`, whole or not at all."""
        write_json(file, self.model_dump(mode="json"))


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class ResolvedBudget(Document):
    """`budget.json`: the limits in plain numbers, and the share of random networks inside each and all of them."""

    budget: dict[str, Any]
    other_devices_ms: dict[str, Annotated[float, Field(gt=0)]] = {}
    feasible_share: Share
    feasible_share_by_limit: dict[str, Share]
    random_networks: int


class StartFile(Document):
    """`supernet/start.json`: the published weights that training started from, and what they expect of an image."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    name: str
    base: str | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Losses(Document):
    """`supernet/losses.json`: the training loss of each step."""

    losses: list[float]


class Schedule(Document):
    """`schedule.json`: how long stages train and what they judge, with what was measured where minutes limit it.

    `split_epochs` of 0: each region takes the supernet's weights as they are. `seconds_per_image` is that of training a
    network of `timed_macs` alone; the files of older versions do not have these.
    """

    train_epochs: Annotated[float, Field(gt=0)]
    split_epochs: Annotated[float, Field(ge=0)]
    rank_by: Literal["ranker", "score"]
    evaluations: Annotated[int, Field(ge=1)]
    private: Annotated[int, Field(ge=0)]
    measuring_seconds: Annotated[float, Field(ge=0)] = 0.0
    seconds_per_step: Annotated[float, Field(ge=0)] = 0.0
    seconds_per_image: Annotated[float, Field(ge=0)] = 0.0
    timed_macs: Annotated[int, Field(ge=0)] = 0


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


class CalibrationFile(Document):
    """`children/calibration.json`: calibrated = scale * score + shifts[region]."""

    scale: float
    shifts: list[float]


class RelaxedFile(Document):
    """`relaxed/relaxed.json`: what a method that relaxes the space ended as.

    `archs` are inside the budget, the method's own choice first; `most_probable` is the network of the largest gates
    whether it fits or not; `multipliers` are what each limited log cost was worth at the end, in nats of loss.
    """

    method: str
    archs: Annotated[list[str], Field(min_length=1)]
    most_probable: str
    multipliers: dict[str, float]
    losses: list[float]


class CompressedFile(Document):
    """`compressed.json`: a winner with fewer channels; pairs are before and after. `accuracy` is on the test split."""

    limits: dict[str, float]
    macs: tuple[int, int]
    params: tuple[int, int]
    accuracy: tuple[Share, Share]
    search_accuracy: Share
    middle_channels: list[tuple[int, int]]
    exports: list[str]


class CandidateEntry(BaseModel):
    """A network that the search judged; its costs (`latency_ms`, `macs`, …) are further keys."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, float]

    arch: str
    score: float
    private_score: float | None
    trial: int

    @property
    def costs(self) -> dict[str, float]:
        """By name."""
        return dict(self.__pydantic_extra__)


class Candidates(Document):
    """`candidates.json`: what the search found, best first."""

    method: str
    ranked_by: str
    evaluations: int
    seconds_per_evaluation: float
    feasible_share: Share
    candidates: list[CandidateEntry]
    front: list[str]


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


class SearchQuantisation(_Part):
    """Shares of the search split that a network gets right: before and after quantisation, and its int8 file after
    training with quantisation simulated, where it lost enough for that."""

    fp32: Share
    int8: Share
    aware_int8: Share | None = None


class WinnerQuantisation(_Part):
    """What int8 cost the winner: `fp32_accuracy` on the test split of the weights that were chosen, beside the run's
    own figures, which are the int8 file's; `aware` where these weights were trained with quantisation simulated, and
    in words why or why not."""

    fp32_accuracy: Share
    aware: bool
    reason: str
    search: SearchQuantisation


class TrainedEntry(_Part):
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


class RandomBaseline(_Part):
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


class PublishedBaseline(_Part):
    """The published network scaled to the budget, trained as the winner was; `improvement` is the winner's accuracy
    minus its own, paired over the test images."""

    arch: str
    accuracy: Share
    macs: int
    latency_ms: Milliseconds
    improvement: float
    improvement_ci95: tuple[float, float]
    verdict: str


class LinearBaseline(_Part):
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


class MeasuredLatency(Document):
    """`latency.json`: what the device took for the winner by which clock, or why it was not measured."""

    device: str
    measured_ms: Milliseconds | None
    clock: Clock | None = None
    session_ms: list[Milliseconds] = []
    reason: str = ""


class AnswersFile(Document):
    """`winner/answers.json`: of each test image, in the order of `data/test.npy`, the class that the winner gave it
    and how probable it took that to be."""

    classes: list[Annotated[int, Field(ge=0)]]
    probabilities: list[Share]


def _as_printed(result: CheckResult) -> dict[str, Any]:
    return result.as_dict()


class CheckFile(Document):
    """`check.json`: what the gate found, as `pocketnas check --json` prints it."""

    passed: bool
    checks: list[Annotated[CheckResult, PlainSerializer(_as_printed)]]
    notes: list[str] = []


class WinnerLatency(_Part):
    predicted: Milliseconds
    interval: Interval
    measured: Milliseconds | None
    clock: Clock | None = None
    device: str


class SummaryWinner(_Part):
    arch: str
    origin: str = "candidate"
    accuracy: Share
    precision: str = "fp32"
    quantisation: WinnerQuantisation | None = None
    latency_ms: WinnerLatency
    macs: int
    params: int


class Feasible(_Part):
    share: Share
    by_limit: dict[str, Share]
    of_random_networks: int


class RegionSize(_Part):
    size: int


class SearchFacts(_Part):
    method: str
    ranked_by: str
    evaluations: int
    seconds_per_evaluation: float


class CheckFacts(_Part):
    passed: bool
    checks: list[Annotated[CheckResult, PlainSerializer(_as_printed)]]


class Summary(Document):
    """`summary.json`: the document that `pocketnas run --json` prints, but for the seconds of the stages."""

    winner: SummaryWinner
    data: dict[str, Any] | None = None
    budget: dict[str, Any]
    feasible: Feasible
    random_baseline: RandomBaseline
    published_baseline: PublishedBaseline | None = None
    linear_baseline: LinearBaseline | None = None
    start: StartFile | None = None
    threads: int | None = None  # a part of what a seed decides; not known of a run of an older version
    regions: list[RegionSize]
    search: SearchFacts
    exports: list[Entry]
    check: CheckFacts


class BaseRun(_Part):
    """The run whose images and supernets a specialised run uses, and a hash of its records of them."""

    path: str
    records: str


class RunFile(Document):
    """`run.json`: the configuration, which of its keys the author wrote, and a hash against edits.

    `written` is not known of a run of version 0.1; `base` is set in a run that specialises another one.
    """

    config: dict[str, Any]
    written: dict[str, Any] = {}
    hash: str
    base: BaseRun | None = None

    @field_validator("schema_version", mode="before")
    @classmethod
    def _of_this_version(cls, value: object) -> object:
        if value != 1:
            raise ValueError(f"this pocketnas reads schema_version 1, not {value!r}")
        return value
