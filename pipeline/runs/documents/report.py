"""What stage `report` writes beside the page: all that a run found."""

from typing import Any

from exporters.manifest import Entry
from latency_tables.table import Clock
from pipeline.runs.documents.base import Document, Interval, Milliseconds, Part, Share
from pipeline.runs.documents.check import CheckFacts
from pipeline.runs.documents.finetune import LinearBaseline, PublishedBaseline, RandomBaseline, WinnerQuantisation
from pipeline.runs.documents.train import StartFile


class WinnerLatency(Part):
    """What the device is expected to take for the winner, and what it took."""

    predicted: Milliseconds
    interval: Interval
    measured: Milliseconds | None
    clock: Clock | None = None
    device: str


class SummaryWinner(Part):
    """The winner; its accuracy is that of `precision`."""

    arch: str
    origin: str = "candidate"
    accuracy: Share
    precision: str = "fp32"
    quantisation: WinnerQuantisation | None = None
    latency_ms: WinnerLatency
    macs: int
    params: int


class Feasible(Part):
    """The shares of so many random networks inside all limits, and inside each."""

    share: Share
    by_limit: dict[str, Share]
    of_random_networks: int


class RegionSize(Part):
    """How many networks a region has."""

    size: int


class SearchFacts(Part):
    """How the search went."""

    method: str
    ranked_by: str
    evaluations: int
    seconds_per_evaluation: float


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
