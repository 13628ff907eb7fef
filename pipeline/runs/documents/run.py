"""`run.json`, with which a run begins."""

from typing import Any

from pydantic import Field, field_validator

from pipeline.runs.documents.base import Document, Part


class BaseRun(Part):
    """The run whose images and supernets a specialised run uses, and a hash of its records of them."""

    path: str
    records: str


class RunFile(Document):
    """`run.json`: the configuration, which of its keys the author wrote, and a hash against edits.

    `written` is not known of a run of version 0.1; `base` is set in a run that specialises another one.
    """

    config: dict[str, Any]
    written: dict[str, Any] = Field(default_factory=dict)
    hash: str
    base: BaseRun | None = None

    @field_validator("schema_version", mode="before")
    @classmethod
    def _of_this_version(cls, value: object) -> object:
        if value != 1:
            raise ValueError(f"this pocketnas reads schema_version 1, not {value!r}")
        return value
