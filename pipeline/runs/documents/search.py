"""What stage `search` writes beside its study and its scores."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pipeline.runs.documents.base import Document, Share


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
