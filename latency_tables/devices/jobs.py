"""What travels between us and the runner script: a folder with a job, and lines of JSON coming back."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO

from pydantic import ValidationError

from latency_tables.devices.runner import Timing, TimingProtocol
from latency_tables.devices.runtimes import Runtime
from latency_tables.errors import DeviceLost, MeasurementError
from latency_tables.onnx_models import NamedModel
from latency_tables.table import DeviceInfo, Precision


def job_files(
    models: Sequence[NamedModel], protocol: TimingProtocol, threads: int, runtime: Runtime, usual_s: float | None
) -> Iterator[tuple[str, bytes]]:
    """A job as (file name, content), one file after the other: the models and, last, job.json, which lists them.

    `usual_s` is what `read_usual_s` last gave.
    """
    names = [f"{number}{runtime.suffix}" for number in range(len(models))]
    for name, model in zip(names, models, strict=True):
        yield name, runtime.file_bytes(model)
    document = {
        "models": [{"name": model.name, "file": name} for name, model in zip(names, models, strict=True)],
        "protocol": protocol.to_dict(),
        "threads": threads,
        "runtime": runtime.name,
        "usual_s": usual_s,
    }
    yield "job.json", json.dumps(document).encode()


def read_timings(
    lines: Iterable[str], models: Sequence[NamedModel], device: str, reason: Callable[[], str]
) -> Iterator[Timing]:
    """The timings in the lines that the runner script prints, in the order of `models`.

    Raises DeviceLost where the lines end early (`reason()` is what the device said last) or make no sense.
    """
    stream = iter(lines)
    for model in models:
        line = next(stream, "")
        timing = _parse_timing(line)
        if timing is None or timing.name != model.name:
            said = reason() or line.strip() or "no more output"
            raise DeviceLost(f"{device} stopped while it measured {model.name!r}: {said}")
        yield timing


def read_usual_s(lines: Iterable[str]) -> float | None:
    """How long the runner script's probe usually takes, in seconds: its last line; None where it did not say."""
    try:
        value = json.loads(next(iter(lines), ""))["usual_s"]
    except (ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, float) and value > 0 else None


def last_line(stream: IO[str]) -> str:
    """The last line that a process wrote to the file of its standard error."""
    stream.seek(0)
    lines = stream.read().strip().splitlines()
    return lines[-1] if lines else ""


def _parse_timing(line: str) -> Timing | None:
    try:
        document = json.loads(line)
        values = tuple(float(value) for value in document["session_ms"])
        timing = Timing(str(document["name"]), values, int(document["runs"]), int(document["disturbed"]))
    except (ValueError, KeyError, TypeError):
        return None
    return timing if values and all(0 < value < float("inf") for value in values) else None


def parse_device(text: str, device: str, precision: Precision) -> DeviceInfo:
    """The device that the runner script's `describe` line tells of, with the precision that it is given models in;
    MeasurementError if it is not one."""
    try:
        return DeviceInfo.model_validate_json(text).model_copy(update={"precision": precision})
    except ValidationError:
        raise MeasurementError(f"{device} did not answer with a description of itself, but: {text[:200]!r}") from None
