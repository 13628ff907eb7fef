"""What stage `check` writes."""

from typing import Annotated, Any

from pydantic import Field, PlainSerializer

from pipeline.gate.results import CheckResult
from pipeline.runs.documents.base import Document, Part


def _as_printed(result: CheckResult) -> dict[str, Any]:
    return result.as_dict()


class CheckFile(Document):
    """`check.json`: what the gate found, as `pocketnas check --json` prints it."""

    passed: bool
    checks: list[Annotated[CheckResult, PlainSerializer(_as_printed)]]
    notes: list[str] = Field(default_factory=list)


class CheckFacts(Part):
    """The same in `summary.json`."""

    passed: bool
    checks: list[Annotated[CheckResult, PlainSerializer(_as_printed)]]
