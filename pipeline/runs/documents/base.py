"""What the documents of a run have in common."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from latency_tables.documents import read_model
from latency_tables.files import write_json
from pipeline.errors import PipelineError

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


class Part(BaseModel):
    """A part of a file."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
