"""Rounds on this machine with ONNX Runtime.

Every round opens fresh sessions: two sessions of one model can differ by some percent through nothing but where
their memory lies, and more runs in the same session would only be sure of the wrong number. With one thread the
clock is that thread's CPU time: that other programs want the machine too is not the model's fault.
"""

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from latency_tables.devices.runner_script import make_session, time_calls
from latency_tables.table import Clock
from pipeline.errors import first_line
from pipeline.gate.errors import CannotMeasure
from pipeline.gate.measure import Taken

_WARMUPS: Final = 3
_ROUND_MS: Final = 100.0  # per model
_TURNS: Final = (3, 40)
_TIMING_MS: Final = 0.5  # below this a timing repeats the run


@dataclass(frozen=True, slots=True)
class TimedModel:
    """A model to time: its file, and whole shapes of inputs that the file leaves open."""

    path: Path
    input_shapes: Mapping[str, tuple[int, ...]]


def host_clock(threads: int) -> Clock:
    """What a model's time is by: one thread's CPU time misses no other, of several nothing but the wall clock tells."""
    return "CPU" if threads == 1 else "wall"


def host_round(models: Sequence[TimedModel], threads: int, rng: random.Random) -> list[Taken]:
    """The typical time of one run of each model, over one fresh session each, run in turn."""
    order = list(range(len(models)))
    rng.shuffle(order)
    runs: list[Callable[[], Any]] = [lambda: None] * len(models)
    for index in order:
        runs[index] = _session(models[index], threads)
    slowest_ms = max(_warm(runs[index]) for index in order)
    repeats = math.ceil(_TIMING_MS / slowest_ms)
    fewest, most = _TURNS
    turns = max(fewest, min(most, round(_ROUND_MS / (slowest_ms * repeats))))
    taken: list[list[Taken]] = [[] for _ in models]
    for turn in range(turns):
        for index in order if turn % 2 == 0 else reversed(order):
            taken[index].append(_time(runs[index], repeats, host_clock(threads)))
    return [Taken(_middle([t.ms for t in one]), statistics.median(t.wall_ms for t in one)) for one in taken]


def _middle(values: Sequence[float]) -> float:
    """The mean of the middle 80 %. CPU times jump between two speeds with what the neighbour core does, and the
    median then jumps with them, where the mean moves in proportion."""
    cut = len(values) // 10
    return statistics.fmean(sorted(values)[cut : len(values) - cut])


def _warm(run: Callable[[], Any]) -> float:
    """Milliseconds of the last of some runs, at least a microsecond."""
    last_s, _ = [time_calls(run, 1) for _ in range(_WARMUPS)][-1]
    return max(1000 * last_s, 1e-3)


def _time(run: Callable[[], Any], repeats: int, clock: Clock) -> Taken:
    wall_s, cpu_s = time_calls(run, repeats)
    return Taken(1000 * (cpu_s if clock == "CPU" else wall_s), 1000 * wall_s)


def _session(model: TimedModel, threads: int) -> Callable[[], Any]:
    """A call that runs `model` once in a session of its own."""
    import numpy as np

    try:
        session = make_session(str(model.path), threads)
        rng = np.random.default_rng(0)
        feed = {entry.name: _filled(entry, model, rng) for entry in session.get_inputs()}
        session.run(None, feed)
    except CannotMeasure:
        raise
    except Exception as error:  # onnxruntime's own exceptions share no base class but Exception
        raise CannotMeasure(f"ONNX Runtime cannot run {model.path}: {first_line(error)}") from error
    return lambda: session.run(None, feed)


def _filled(entry: Any, model: TimedModel, rng: Any) -> Any:
    """Numbers between 0 and 1 (zeros where whole numbers are asked) in the shape of a session's input."""
    import numpy as np

    kinds = {"tensor(float)": "f4", "tensor(float16)": "f2", "tensor(double)": "f8", "tensor(uint8)": "u1"}
    kinds |= {"tensor(int8)": "i1", "tensor(int32)": "i4", "tensor(int64)": "i8", "tensor(bool)": "?"}
    if entry.type not in kinds:
        raise CannotMeasure(f"{model.path}: input {entry.name!r} is a {entry.type}, not a tensor of numbers")
    shape = list(model.input_shapes.get(entry.name, entry.shape))
    if shape and not isinstance(shape[0], int):
        shape[0] = 1
    if any(not isinstance(size, int) or size < 1 for size in shape):
        raise CannotMeasure(
            f"{model.path}: input {entry.name!r} has the open shape {shape}; tell it in the budget's [[models]]: "
            f"input_shapes = {{{entry.name} = [1, 3, 224, 224]}}"
        )
    dtype = np.dtype(kinds[entry.type])
    return rng.random(shape).astype(dtype) if dtype.kind == "f" else np.zeros(shape, dtype)
