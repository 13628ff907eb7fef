"""What stage `train` writes beside the weights."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from pipeline.runs.documents.base import Document


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
