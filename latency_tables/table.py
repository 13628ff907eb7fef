"""A latency table: what each block costs on one device, how far sums of it can be trusted, and where it is from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from latency_tables.blocks import Block
from latency_tables.documents import first_error
from latency_tables.errors import TableError

_MOST_MS = 1e9  # eleven days: no block and no network takes longer
Milliseconds = Annotated[float, Field(ge=0, le=_MOST_MS)]
Percent = Annotated[float, Field(ge=0, le=1e9)]
Residual = Annotated[float, Field(ge=-1, le=1e4)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Precision = Literal["fp32", "fp16", "int8"]
Clock = Literal["wall", "CPU", "GPU"]
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)


def clock_words(clock: Clock | None) -> str:
    """How a measurement tells its clock: "CPU time", "wall time"; "time by an unnamed clock" where none is known."""
    return "time by an unnamed clock" if clock is None else f"{clock} time"


def read_precision(name: str) -> Precision:
    """The precision of that name. Raises TableError."""
    for precision in PRECISIONS:
        if precision == name:
            return precision
    raise TableError(f"precision {name!r} is unknown; accepted are {', '.join(PRECISIONS)}")


class MissingRows(TableError):  # it says what it carries
    """A network or a space has blocks that the table does not know; `missing` lists every one of them.

    So does the message with `list_all`, and otherwise the first three: a space may lack hundreds.
    """

    def __init__(self, device: str, missing: Sequence[Block], list_all: bool = False) -> None:
        self.missing = tuple(missing)
        shown = self.missing if list_all else self.missing[:3]
        more = f"; and {len(self.missing) - len(shown)} more" if len(shown) < len(self.missing) else ""
        super().__init__(
            f"the table of {device!r} lacks {len(self.missing)} row(s); 'pocketnas profile SPACE --extend TABLE' on "
            f"that device measures them: {'; '.join(block.key for block in shown)}{more}"
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """The latency of one network in milliseconds, and the interval that held 95 % of the held-out networks.

    `low_ms` and `high_ms` are None where the table's error was never measured (an imported table).
    """

    latency_ms: float
    low_ms: float | None
    high_ms: float | None


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class BrowserInfo(_Model):
    """A browser that runs networks: what it calls itself, whether its page is isolated from other origins (which
    threads and fine clocks need), and the step of its clock."""

    user_agent: str
    isolated: bool
    clock_ms: Milliseconds


class DeviceInfo(_Model):
    """The device and everything else that the same network's latency depends on; `clock` is what times runs on it,
    None where nobody told (older tables, imported ones)."""

    name: str
    soc: str = "unknown"
    cores: Count = 0
    architecture: str = "unknown"
    system: str = "unknown"
    runtime: str
    runtime_version: str = "unknown"
    delegate: str = "unknown"
    threads: Annotated[int, Field(ge=1)] = 1
    precision: str = "fp32"
    batch: Annotated[int, Field(ge=1)] = 1
    clock: Clock | None = None
    browser: BrowserInfo | None = None

    def differences(self, other: "DeviceInfo") -> str:
        """What makes latencies on `other` another matter than on this one, in words; empty if nothing does."""
        fields = ("soc", "runtime", "runtime_version", "delegate", "threads", "precision", "batch")
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in fields]
        pairs.append(("browser", self._user_agent, other._user_agent))
        return ", ".join(f"{name} {mine} instead of {theirs}" for name, theirs, mine in pairs if mine != theirs)

    @property
    def _user_agent(self) -> str:
        return "none" if self.browser is None else self.browser.user_agent


class Row(_Model):
    """One block: measured alone, and what it adds to a network (the same, until a calibration says otherwise).

    `spread_percent` is the range that the middle half of the fresh sessions spans, in percent of their median;
    `unstable` rows kept a large one after they had been measured again. An `interpolated` row was not measured.
    """

    median_ms: Milliseconds
    network_ms: Milliseconds
    spread_percent: Percent = 0.0
    samples: Count = 0
    sessions: Count = 0
    unstable: bool = False
    interpolated: bool = False


class Calibration(_Model):
    """How `network_ms` follows from `median_ms`: the method, what it was fitted on, and its readable terms."""

    method: str
    networks: Count = 0
    fixed_ms: Annotated[float, Field(ge=-_MOST_MS, le=_MOST_MS)] = 0.0
    terms: dict[str, float] = {}


class ErrorReport(_Model):
    """Predictions against measurements of whole random networks that the calibration has not seen.

    `residual_low` and `residual_high` are quantiles of (measured - predicted) / predicted that hold 95 % of
    the networks; `worst_under_percent` is the largest amount by which a network took longer than predicted.
    """

    networks: Count
    mape_percent: Percent
    rmse_ms: Milliseconds
    spearman: Annotated[float, Field(ge=-1, le=1)]
    within_5_percent: Share
    within_10_percent: Share
    worst_under_percent: Percent
    residual_low: Residual
    residual_high: Residual

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.residual_low > self.residual_high:
            raise ValueError(f"residual_low {self.residual_low:g} is above residual_high {self.residual_high:g}")
        return self


class Provenance(_Model):
    """When, with what and how steadily the table was measured; or what it was imported from."""

    created: str
    tool: str
    source: str
    space: str = ""
    space_sha256: str = ""
    protocol: dict[str, float] = {}
    drift_percent: Percent = 0.0
    sentinel_ms: Milliseconds = 0.0
    batches_repeated: Count = 0
    notes: list[str] = []


class LatencyTable(_Model):
    """Measured milliseconds per block of one device. Read one with `latency_tables.store.load_table`."""

    schema_version: Literal[1] = 1
    device: DeviceInfo
    calibration: Calibration
    error: ErrorReport | None = None
    provenance: Provenance
    rows: dict[str, Row]

    @field_validator("rows")
    @classmethod
    def _rows_are_blocks(cls, rows: dict[str, Row]) -> dict[str, Row]:
        for key in rows:
            Block.parse(key)
        return rows

    @property
    def fixed_ms(self) -> float:
        """Milliseconds that every network takes beside its blocks."""
        return self.calibration.fixed_ms

    @property
    def upper_factor(self) -> float:
        """Predicted latency times this is the upper end of the 95 % interval; 1 where the error is not known.

        A search keeps its promise with `predicted * upper_factor <= limit`.
        """
        return 1.0 if self.error is None else 1.0 + max(0.0, self.error.residual_high)

    def block_ms(self, block: Block) -> float:
        """Milliseconds that `block` adds to a network. Raises MissingRows; nothing is ever guessed."""
        try:
            return self._network_ms[block]
        except KeyError:
            raise MissingRows(self.device.name, [block]) from None

    def missing(self, blocks: Iterable[Block]) -> tuple[Block, ...]:
        """The distinct blocks among `blocks` that have no row, in order."""
        return tuple(dict.fromkeys(block for block in blocks if block not in self._network_ms))

    def network_ms(self, blocks: Iterable[Block]) -> float:
        """Predicted milliseconds of the network made of `blocks`. MissingRows lists all rows that lack; TableError
        where the table's numbers add up to no time."""
        blocks, costs = tuple(blocks), self._network_ms
        try:
            predicted = self.calibration.fixed_ms + sum([costs[block] for block in blocks])
        except KeyError:
            raise MissingRows(self.device.name, self.missing(blocks), list_all=True) from None
        return self.positive(predicted)

    def positive(self, predicted_ms: float) -> float:
        """`predicted_ms` of a network by this table's numbers; TableError where it is no time at all."""
        if not 0 < predicted_ms < math.inf:
            raise TableError(
                f"the table of {self.device.name!r} predicts {predicted_ms:g} ms for a network (fixed_ms is"
                f" {self.fixed_ms:g}); a table like that decides nothing: measure it again"
            )
        return predicted_ms

    def predict(self, blocks: Iterable[Block]) -> Prediction:
        """The latency of a network with its 95 % interval, in milliseconds. Raises MissingRows."""
        latency_ms = self.network_ms(blocks)
        if self.error is None:
            return Prediction(latency_ms, None, None)
        low, high = 1 + self.error.residual_low, 1 + self.error.residual_high
        return Prediction(latency_ms, latency_ms * max(0.0, low), latency_ms * high)

    def with_rows(self, rows: Mapping[str, Row], *notes: str) -> "LatencyTable":
        """The same table with further `rows` by their keys, and what its provenance says of them."""
        provenance = self.provenance.model_copy(update={"notes": [*self.provenance.notes, *notes]})
        return LatencyTable(
            device=self.device,
            calibration=self.calibration,
            error=self.error,
            provenance=provenance,
            rows={**self.rows, **rows},
        )

    @cached_property
    def _network_ms(self) -> dict[Block, float]:
        return {Block.parse(key): row.network_ms for key, row in self.rows.items()}


def parse_table(text: str, where: str) -> LatencyTable:
    """The table that a JSON text holds; TableError names the file (`where`), the entry and the bad value."""
    try:
        return LatencyTable.model_validate_json(text)
    except ValidationError as error:
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise TableError(f"{where} is not a latency table: {first_error(error, LatencyTable)}{more}") from None
