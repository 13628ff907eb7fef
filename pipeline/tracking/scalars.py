"""The events of a run as named numbers over steps: what every tracker understands."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.runs.events import Event


@dataclass(frozen=True, slots=True)
class Scalar:
    """One number. `seconds` is the time since 1970."""

    name: str
    value: float
    step: int
    seconds: float


def scalars(events: Iterable[Event]) -> Iterator[Scalar]:
    """The numbers in `events`, in their order. An event that is not known, or whose keys are not, has none."""
    finalists: dict[str, int] = {}
    best: float | None = None
    for event in events:
        facts = dict(event.facts)
        if event.event in ("finalist", "tested"):
            facts["step"] = finalists.setdefault(str(facts.get("name")), len(finalists) + 1)
        if event.event == "stage_started" and event.stage == "search" and not facts.get("continued"):
            best = None
        if event.event == "trial" and (score := _number(facts.get("score"))) is not None:
            best = score if best is None else max(best, score)
            facts["best"] = best
        for name, value in _NAMED.get(event.event, _nothing)(event.stage, facts):
            if (number := _number(value)) is not None:
                step = _number(facts.get("step", facts.get("number", 0))) or 0
                yield Scalar(name, number, int(step), event.time.timestamp())


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


Named = Iterator[tuple[str, object]]


def _nothing(stage: str, facts: Mapping[str, Any]) -> Named:
    yield from ()


def _training(stage: str, facts: Mapping[str, Any]) -> Named:
    part = f"{stage}/{facts.get('part')}"
    for key in ("loss", "learning_rate", "images_per_second"):
        yield f"{part}/{key}", facts.get(key)
    for network, accuracy in _table(facts.get("accuracy")):
        yield f"{part}/accuracy/{network}", accuracy


def _trial(stage: str, facts: Mapping[str, Any]) -> Named:
    yield f"{stage}/score", facts.get("score")
    yield f"{stage}/best_score", facts.get("best")
    for cost, value in _table(facts.get("costs")):
        yield f"{stage}/{cost}", value


def _finalist(stage: str, facts: Mapping[str, Any]) -> Named:
    yield f"{stage}/search_accuracy", facts.get("search_accuracy")


def _tested(stage: str, facts: Mapping[str, Any]) -> Named:
    yield f"{stage}/test_accuracy", facts.get("test_accuracy")


def _winner(stage: str, facts: Mapping[str, Any]) -> Named:
    for key in ("accuracy", "macs", "params", "predicted_ms"):
        yield f"winner/{key}", facts.get(key)


def _export(stage: str, facts: Mapping[str, Any]) -> Named:
    name = f"{stage}/{facts.get('format')}"
    yield f"{name}/size_bytes", facts.get("size_bytes")
    yield f"{name}/latency_ms", facts.get("latency_ms")
    parity = dict(_table(facts.get("parity")))
    for key in ("max_abs_diff", "top1_agreement"):
        yield f"{name}/{key}", parity.get(key)


def _latency(stage: str, facts: Mapping[str, Any]) -> Named:
    yield "winner/measured_ms", facts.get("measured_ms")


def _check(stage: str, facts: Mapping[str, Any]) -> Named:
    yield "check/passed", float(facts.get("passed") is True)


def _finished(stage: str, facts: Mapping[str, Any]) -> Named:
    yield f"seconds/{stage}", facts.get("seconds")


def _table(value: object) -> Iterable[tuple[str, object]]:
    return [(str(key), inner) for key, inner in value.items()] if isinstance(value, dict) else []


_NAMED: Final[Mapping[str, Callable[[str, Mapping[str, Any]], Named]]] = {
    "training": _training,
    "trial": _trial,
    "finalist": _finalist,
    "tested": _tested,
    "winner": _winner,
    "export": _export,
    "latency": _latency,
    "check": _check,
    "stage_finished": _finished,
}
