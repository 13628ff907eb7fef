"""What stage `profile` writes beside the table."""

from typing import Annotated, Any

from pydantic import Field

from pipeline.runs.documents.base import Document, Share


class ResolvedBudget(Document):
    """`budget.json`: the limits in plain numbers, and the share of random networks inside each and all of them."""

    budget: dict[str, Any]
    other_devices_ms: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    feasible_share: Share
    feasible_share_by_limit: dict[str, Share]
    random_networks: int
