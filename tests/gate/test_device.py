"""Latency on a device behind a URL: asked of the device, never of this machine."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from latency_tables.devices import registry
from latency_tables.devices.runner import Timing, TimingProtocol
from latency_tables.errors import MeasurementError
from latency_tables.onnx_models import NamedModel
from latency_tables.table import DeviceInfo
from pipeline.gate.budget_file import Device, load_budget
from pipeline.gate.gate import Request, run_gate
from pipeline.gate.measure import LookPlan
from pipeline.gate.results import CheckResult, Report
from tests.gate.conftest import FILES

Budget = Callable[[str], Path]


class Board:
    """A device whose models take a microsecond per byte, with 2 % noise; it answers so often before it is lost."""

    def __init__(self, answers: int = 10_000) -> None:
        self.answers = answers
        self.rng = random.Random(0)

    def describe(self) -> DeviceInfo:
        return DeviceInfo(name="board", runtime="onnxruntime")

    def measure(self, models: Sequence[NamedModel], protocol: TimingProtocol) -> Iterator[Timing]:
        for model in models:
            self.answers -= 1
            if self.answers < 0:
                raise MeasurementError("the board went away")
            ms = len(model.onnx_bytes) / 1000 * self.rng.gauss(1, 0.02)
            yield Timing(model.name, (ms,), protocol.runs)


def checked(
    board: Board, limits: Path, model: Path, monkeypatch: pytest.MonkeyPatch, baseline: Path | None = None
) -> Report:
    monkeypatch.setitem(registry.RUNNERS, "board", lambda url, threads: board)
    device = Device("board", url="board")
    return run_gate(Request((model,), LookPlan(), (device,), baseline), load_budget(limits))


def only(report: Report, name: str) -> CheckResult:
    return next(result for result in report.results if result.name == name)


def test_a_limit_is_judged_by_the_device(tiny: Path, budget: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    ms = tiny.stat().st_size / 1000
    fits = only(checked(Board(), budget(f"latency_ms = {1.1 * ms}"), tiny, monkeypatch), "latency_ms")
    assert fits.status == "passed"
    assert fits.source == "measured on board, 1 thread (time by an unnamed clock)"
    assert fits.actual == pytest.approx(ms, rel=0.05)
    exceeds = only(checked(Board(), budget(f"latency_ms = {0.9 * ms}"), tiny, monkeypatch), "latency_ms")
    assert exceeds.status == "failed"


def test_a_change_is_judged_by_the_device(
    tiny: Path, bigger: Path, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = budget('[tolerance]\nlatency_ms = "3%"')
    name = "latency_ms vs baseline"
    slower = only(checked(Board(), limits, bigger, monkeypatch, baseline=tiny), name)
    assert slower.status == "failed"
    assert slower.actual == pytest.approx(bigger.stat().st_size / tiny.stat().st_size - 1, abs=0.05)
    assert only(checked(Board(), limits, tiny, monkeypatch, baseline=tiny), name).status == "passed"


def test_a_lost_device_decides_nothing(tiny: Path, budget: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    report = checked(Board(answers=5), budget("latency_ms = 1000\nmacs = 1e9"), tiny, monkeypatch)
    lost = only(report, "latency_ms")
    assert (lost.status, lost.actual, lost.message) == ("undecided", None, "the board went away")
    assert only(report, "macs").passed
    assert report.exit_code == 3


@pytest.mark.parametrize("name", ["tiny.onnx", "tiny.tflite"])
def test_litert_times_its_own_files(name: str, budget: Budget, tiny: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    device, model = "host+litert", tiny if name == tiny.name else FILES / name
    plan = LookPlan(looks=(2,))
    request = Request((model,), plan, (Device(device, url=device),), None)
    result = only(run_gate(request, load_budget(budget("latency_ms = 1000"))), "latency_ms")
    if model == tiny:
        assert result.actual is None
        assert f"LiteRT times .tflite files, which {tiny} is not" in result.message
    else:
        assert result.actual is not None
        assert 0 < result.actual < 1000
