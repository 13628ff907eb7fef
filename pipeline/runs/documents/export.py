"""What stage `export` writes beside the files."""

from pydantic import Field

from latency_tables.table import Clock
from pipeline.runs.documents.base import Document, Milliseconds


class MeasuredLatency(Document):
    """`latency.json`: what the device took for the winner by which clock, or why it was not measured."""

    device: str
    measured_ms: Milliseconds | None
    clock: Clock | None = None
    session_ms: list[Milliseconds] = Field(default_factory=list)
    reason: str = ""
