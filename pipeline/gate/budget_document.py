"""The keys of a budget file, as pydantic reads them."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from pipeline.gate.metrics import METRICS
from pipeline.gate.results import Level

Quantity = float | str
Share = Annotated[float, Field(ge=0, le=1)]
Size = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Strict(BaseModel):
    """Unknown keys and values of other types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Limits(Strict):
    """What stands at the top of the file, and in each entry of [[models]]."""

    latency_ms: Quantity | dict[str, Quantity] | None = Field(
        None, description="Milliseconds for one image, at most. One value, or one per device: {pixel6 = 25, host = 8}."
    )
    macs: Quantity | None = Field(None, description='Multiply-accumulates of one image, at most: 300e6 or "300M".')
    params: Quantity | None = Field(None, description='Numbers that the file stores as weights, at most: 6e6 or "6M".')
    size_mb: Quantity | None = Field(None, description="Size of the file in megabytes (1,000,000 bytes), at most.")
    accuracy: Quantity | None = Field(None, description="Share of test images classified right, at least: 0.9.")


def _per_metric(name: str, kind: Any, default: Any, description: str) -> type[Strict]:
    """A table with one key for each metric."""
    fields: dict[str, Any] = {
        metric.name: (
            kind,
            Field(default, description=description.format(metric.what, f"{100 * metric.tolerance:g}%")),
        )
        for metric in METRICS.values()
    }
    made: type[Strict] = create_model(name, __base__=Strict, **fields)
    return made


if TYPE_CHECKING:

    class Levels(Strict):
        """A level for each metric."""

    class Tolerance(Strict):
        """A share for each metric, None where nothing is said."""

else:
    Levels = _per_metric("Levels", Level, "error", "What a violated limit or a regression does: {}.")
    Tolerance = _per_metric(
        "Tolerance", Quantity | None, None, 'Change for the worse against a baseline that is allowed: {}; default "{}".'
    )


class DeviceEntry(Strict):
    """One device whose latency is limited."""

    table: str | None = Field(None, description="Latency table (file beside the budget, or shipped) to predict with.")
    url: str | None = Field(
        None, description='Device to measure on: "host", "ssh://user@board", "adb://serial", without options.'
    )
    threads: Annotated[int, Field(ge=1, description="Threads that a network may use on a measured device.")] = 1
    min_recognised: Share = Field(
        0.98, description="Share of a model's MACs that must be recognised as blocks, or no prediction is made."
    )


class ModelEntry(Limits):
    """One model, or those that match a pattern."""

    path: str = Field(description="File, run folder or pattern such as exports/*.onnx, seen from the budget file.")
    name: str | None = Field(None, description="Name in results and baseline; default the path from the budget file.")
    metrics: str | None = Field(None, description='JSON file with what the model file cannot tell: {"accuracy": 0.91}.')
    input_shapes: dict[str, Annotated[list[Size], Field(min_length=1)]] = Field(
        {}, description="Whole shapes of inputs that the file leaves open: {image = [1, 3, 224, 224]}."
    )
    ignore_operators: list[str] = Field(
        [], description="Operators whose MACs cannot be counted and that you take as free, by name."
    )


class BudgetDocument(Limits):
    """The keys of a budget file."""

    schema_version: Literal[1] = Field(1, description="Version of this format.")
    levels: Levels = Field(Levels(), description="error stops a merge, warn only tells.")
    tolerance: Tolerance = Field(Tolerance(), description="Change against a baseline that is allowed, per metric.")
    devices: dict[str, DeviceEntry] = Field({}, description="How the latency on a named device is known.")
    models: list[ModelEntry] = Field([], description="The models to check, each with limits of its own.")


def json_schema() -> dict[str, Any]:
    """The JSON schema of a budget file, for editors."""
    schema = BudgetDocument.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "pocketnas budget file"} | schema
