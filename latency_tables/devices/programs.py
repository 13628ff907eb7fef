"""Benchmark programs that a shell starts: what they are told, what they print, and how they are told apart.

They are a runtime's own: ONNX Runtime's `onnxruntime_perf_test`, and LiteRT's `benchmark_model`, which is published
ready-made.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Protocol

from latency_tables.devices.runner import Timing, TimingProtocol
from latency_tables.devices.runtimes import LITERT, ONNXRUNTIME, Runtime
from latency_tables.errors import MeasurementError, TableError
from latency_tables.files import read_bounded

_MOST_BYTES: Final = 1 << 30
_LITERT_PRINTS: Final = b"Running benchmark for at least "


class Program(Protocol):
    """A benchmark program, whatever its file is called."""

    runtime: ClassVar[Runtime]

    @property
    def version(self) -> str:
        """Which file it is: its name and the beginning of its SHA-256."""

    @property
    def delegate(self) -> str:
        """What computes, as tables record it."""

    def arguments(self, model: str, folder: str, protocol: TimingProtocol, threads: int) -> Sequence[str]:
        """What it is told, to time the file `model` in one session. `folder` is where its libraries are."""

    def read(self, output: str, protocol: TimingProtocol) -> tuple[float, int]:
        """The median milliseconds of a run, and how many were timed. Raises ValueError where it says neither."""


@dataclass(frozen=True, slots=True)
class PerfTest:
    """ONNX Runtime's program."""

    version: str
    delegate: str = "CPUExecutionProvider"
    runtime: ClassVar[Runtime] = ONNXRUNTIME
    # "P50 Latency: 0.0123 s" and, before 1.16, "P50 Latency is 0.0123 sec".
    _median: ClassVar = re.compile(r"^P50 Latency(?:\s+is|:)\s*([0-9.eE+-]+)\s*s(?:ec)?\s*$", re.MULTILINE)

    def arguments(self, model: str, folder: str, protocol: TimingProtocol, threads: int) -> Sequence[str]:
        return ("-e", "cpu", "-m", "times", "-r", str(protocol.runs), "-x", str(threads), "-I", "-s", model)

    def read(self, output: str, protocol: TimingProtocol) -> tuple[float, int]:
        match = self._median.search(output)
        if match is None:
            raise ValueError("it printed no P50 latency")
        return float(match[1]) * 1000, protocol.runs


@dataclass(frozen=True, slots=True)
class BenchmarkModel:
    """LiteRT's program, of the CompiledModel interface or of the older interpreter; `accelerator` is none of them: the
    CPU, with XNNPACK."""

    version: str
    accelerator: str | None = None
    runtime: ClassVar[Runtime] = LITERT
    # Warm-ups print such a line, too; where all runs took the same, there is no mean.
    _statistics: ClassVar = re.compile(r"\bcount=(\d+) .*?(?:avg=(\S+) .*?)?p5=\S+ median=(\S+) p95=")

    @property
    def delegate(self) -> str:
        return "XNNPACK" if self.accelerator is None else self.accelerator.upper()

    def arguments(self, model: str, folder: str, protocol: TimingProtocol, threads: int) -> Sequence[str]:
        words = [
            f"--graph={model}",
            f"--num_threads={threads}",
            f"--warmup_runs={protocol.warmups}",
            "--warmup_min_secs=0",
            f"--num_runs={protocol.runs}",
            f"--min_secs={protocol.session_ms / 1000:g}",
        ]
        if self.accelerator is not None:
            words += [f"--use_{self.accelerator}=true", "--use_cpu=false", "--require_full_delegation=true"]
        if self.accelerator == "npu":
            words += [f"--dispatch_library_path={folder}", f"--compiler_plugin_library_path={folder}"]
        return words

    def read(self, output: str, protocol: TimingProtocol) -> tuple[float, int]:
        self._require_accelerated(output)
        found = self._statistics.findall(output)
        if len(found) < 2:
            raise ValueError("it printed no median of its runs; a LiteRT program of 2024 or later does")
        count, mean, median = found[-1]
        # It counts whole microseconds: of a block that takes few of them, the mean tells the fraction.
        median_us = float(median)
        value_us = min(max(float(mean or median), median_us - 0.5), median_us + 0.5)
        return value_us / 1000, int(count)

    def _require_accelerated(self, output: str) -> None:
        """ValueError where the CPU ran what the accelerator was asked to: the program goes on then."""
        if self.accelerator is None:
            return
        unknown = re.search(rf"Unconsumed cmdline flags:.*--use_{self.accelerator}\b", output)
        if unknown:
            raise ValueError(f"it does not know --use_{self.accelerator}")
        if "will not be executed by the delegate" in output or "partially executed by the delegate" in output:
            raise ValueError(f"the {self.accelerator.upper()} does not run all of it, the CPU would")


ACCELERATORS: Final = ("gpu", "npu", "nnapi")


def read_program(file: Path, accelerator: str | None = None) -> Program:
    """The program in `file`, recognised by what it prints, whatever it is called.

    Raises TableError where there is no such file, and for an accelerator that the program has not.
    """
    try:
        data = read_bounded(file, TableError, _MOST_BYTES)
    except FileNotFoundError:
        raise TableError(f"there is no benchmark program {file}") from None
    version = f"{file.name} {hashlib.sha256(data).hexdigest()[:12]}"
    if _LITERT_PRINTS in data:
        if accelerator not in (None, *ACCELERATORS):
            raise TableError(f"delegate {accelerator!r} is unknown; accepted are {', '.join(ACCELERATORS)}, or none")
        return BenchmarkModel(version, accelerator)
    if accelerator is not None:
        raise TableError(f"delegate {accelerator!r} is for LiteRT's benchmark_model, which {file} is not")
    return PerfTest(version)


def timed_by(program: Program, where: str, name: str, protocol: TimingProtocol, run: Callable[[], str]) -> Timing:
    """What the fresh sessions that `run` starts print of the model `name`. MeasurementError if it is no latency."""
    medians, runs = [], 0
    for _ in range(protocol.sessions):
        output = run()
        try:
            median_ms, timed = program.read(output, protocol)
            if not 0 < median_ms < float("inf"):
                raise ValueError(f"{median_ms:g} ms is no latency")
        except ValueError as error:
            said = " ".join(output.split())[-200:]
            raise MeasurementError(f"{where} did not time {name!r}: {error}; its program said: {said!r}") from None
        medians.append(median_ms)
        runs += timed
    return Timing(name, tuple(medians), runs)
