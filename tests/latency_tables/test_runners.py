"""One contract for every kind of device, and what is special about each."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import pytest

from latency_tables.build import ProfilePlan, measure_table
from latency_tables.devices.adb import AdbRunner
from latency_tables.devices.coreml import CoremlRunner
from latency_tables.devices.coreml_script import CoremlDevice
from latency_tables.devices.qai_hub import QaiHubRunner
from latency_tables.devices.registry import RUNNERS, open_runner
from latency_tables.devices.runner import DeviceOptions, Metered, Runner, Timing, TimingProtocol
from latency_tables.devices.tensorrt import TensorrtRunner
from latency_tables.errors import DeviceLost, MeasurementError, TableError
from latency_tables.measure import MeasureOptions
from latency_tables.onnx_models import NamedModel
from latency_tables.store import load_table
from latency_tables.table import PRECISIONS, Clock, DeviceInfo, Precision
from tests.latency_tables.conftest import LINEAR, SMALL, Sshd
from tests.latency_tables.hub import Hub
from tests.latency_tables.iphone import plug_in
from tests.latency_tables.scripted import PERF_TEST, script, scripted_phone
from tests.latency_tables.web import chromium, ort_web, web_runner

QUICK = TimingProtocol(sessions=2, warmups=1, runs=3, session_ms=0)
TRTEXEC = """#!/bin/sh
echo '&&&& RUNNING TensorRT.trtexec [TensorRT v101300] # trtexec'
case $1 in --help) exit 0 ;; esac
echo '[I] Latency: min = 0.17 ms, max = 0.24 ms, mean = 0.18 ms, median = 0.18 ms, percentile(90%) = 0.19 ms'
echo '[I] GPU Compute Time: min = 0.1 ms, max = 0.2 ms, mean = 0.13 ms, median = 0.125 ms, percentile(90%) = 0.19 ms'
"""

Factory = Callable[[], Runner]


@pytest.fixture
def phone(tmp_path: Path) -> AdbRunner:
    """The adb runner with a scripted phone behind it."""
    return scripted_phone(tmp_path, PERF_TEST)


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TensorrtRunner:
    """The TensorRT runner with a scripted trtexec and nvidia-smi."""
    script(tmp_path / "nvidia-smi", "#!/bin/sh\necho 'NVIDIA Orin'\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return TensorrtRunner(urlsplit(f"tensorrt://?binary={script(tmp_path / 'trtexec', TRTEXEC)}"))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Runner]:
    """The browser device with a real browser at its page."""
    with web_runner(ort_web()) as runner, chromium(tmp_path) as page:
        page.open(runner.address)
        yield runner


@pytest.fixture
def iphone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """The Core ML runner with a scripted phone behind coremltools."""
    plug_in(tmp_path, monkeypatch)
    runner = CoremlRunner(urlsplit("coreml://Anna's iPhone"), DeviceOptions(), CoremlDevice("Anna's iPhone"))
    yield runner
    runner.close()


@pytest.fixture
def runner(request: pytest.FixtureRequest) -> Runner:
    """A runner of the kind that the test is parametrised with."""
    match request.param:
        case "host":
            return open_runner("host")
        case "host+litert":
            pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
            return open_runner("host+litert")
        case "ssh":
            sshd: Sshd = request.getfixturevalue("sshd")
            return open_runner(sshd.url)
        case "adb":
            return request.getfixturevalue("phone")  # type: ignore[no-any-return]
        case "tensorrt":
            return request.getfixturevalue("gpu")  # type: ignore[no-any-return]
        case "web":
            return request.getfixturevalue("web")  # type: ignore[no-any-return]
        case "coreml":
            return request.getfixturevalue("iphone")  # type: ignore[no-any-return]
        case "qai-hub":
            return QaiHubRunner(urlsplit("qai-hub://Samsung Galaxy S24"), DeviceOptions(), Hub())
    raise AssertionError(f"no fixture for runner {request.param}")


@pytest.mark.parametrize("runner", list(RUNNERS), indirect=True)
def test_contract(runner: Runner, models: tuple[NamedModel, ...]) -> None:
    """Every device describes itself and times what it is given, in order, one model at a time."""
    device = runner.describe()
    assert device.clock in get_args(Clock)
    assert device.name not in ("", "unknown")
    assert device.batch == 1
    assert device.runtime in ("onnxruntime", "onnxruntime-web", "litert", "coreml", "tensorrt")
    timings = runner.measure([*models, models[0]], QUICK)
    first = next(iter(timings))
    rest = list(timings)
    assert [timing.name for timing in (first, *rest)] == ["one", "two", "one"]
    for timing in (first, *rest):
        sessions = 1 if isinstance(runner, Metered) else QUICK.sessions
        assert len(timing.session_ms) == sessions
        assert all(0 < value < 1000 for value in timing.session_ms)
        assert timing.runs >= QUICK.runs * sessions


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_table_is_of_the_precision_that_its_device_was_opened_with(precision: Precision, tmp_path: Path) -> None:
    runner = open_runner("host", DeviceOptions(precision=precision))
    sent: list[bytes] = []

    class Watched:
        def describe(self) -> DeviceInfo:
            return runner.describe()

        def measure(self, models: Sequence[NamedModel], protocol: TimingProtocol) -> Iterator[Timing]:
            sent.extend(model.onnx_bytes for model in models)
            return runner.measure(models, protocol)

    plan = ProfilePlan((SMALL, LINEAR), (), ())
    table = measure_table(plan, Watched(), tmp_path / "t.json", MeasureOptions(QUICK, visits=1, repeats=0))
    assert load_table(tmp_path / "t.json").device.precision == table.device.precision == precision
    mark = {"fp32": b"input", "fp16": b"Cast", "int8": b"QuantizeLinear"}[precision]
    assert all(mark in model for model in sent)  # the sentinel, too
    other = table.device.model_copy(update={"precision": "fp64"})
    assert "precision" in table.device.differences(other)


def test_options_in_a_device_s_name_are_the_device_s_own(tmp_path: Path) -> None:
    assert isinstance(open_runner(f"tensorrt://?binary={tmp_path}"), TensorrtRunner)


def test_a_device_that_has_one_precision_says_so() -> None:
    with pytest.raises(TableError, match="fp32, not in int8"):
        open_runner("tensorrt", DeviceOptions(precision="int8"))


@pytest.mark.parametrize(
    "device",
    [
        "hsot",
        "ftp://board",
        "",
        "ssh://",
        "host://x",
        "host:",
        "HOST",
        "host+litert://x",
        "host+litert?binery=x",
        "tensorrt://0",
    ],
)
def test_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(TableError) as caught:
        open_runner(device)
    assert caught.value.exit_code == 2


def test_ssh_leaves_nothing_behind_and_names_what_is_wrong(sshd: Sshd, models: tuple[NamedModel, ...]) -> None:
    runner = open_runner(sshd.url)
    assert len(list(runner.measure(models, QUICK))) == 2
    assert _left_on_board() == []
    without = open_runner(sshd.url.replace("python=", "python=/nowhere"))
    with pytest.raises(MeasurementError, match="nowhere") as caught:
        without.describe()
    assert caught.value.exit_code == 3


def test_ssh_connection_that_breaks_keeps_what_was_measured(sshd: Sshd, models: tuple[NamedModel, ...]) -> None:
    many = [NamedModel(f"{number}", models[1].blocks) for number in range(200)]
    timings = open_runner(sshd.url).measure(many, QUICK)
    assert next(iter(timings)).name == "0"
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(sshd.process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert children
    subprocess.run(["kill", "-9", *children], check=True)
    with pytest.raises(DeviceLost):
        list(timings)
    assert len(list(open_runner(sshd.url).measure(models, QUICK))) == 2  # the device is there again
    assert _left_on_board() == []


def _left_on_board() -> list[Path]:
    """Folders that the runner left where sshd lets it work, once it has had a moment to remove them."""
    for _ in range(100):
        left = [path.parent for path in Path(tempfile.gettempdir()).glob("pocketnas-*/runner_script.py")]
        if not left:
            break
        time.sleep(0.05)
    return left


@pytest.mark.parametrize(
    "url",
    [
        "ssh://user@host;reboot",
        "ssh://-oProxyCommand=reboot@host",
        "ssh://user@-oProxyCommand=reboot",
        "ssh://user:secret@host",
        "ssh://user@host?python=python3;reboot",
        "ssh://user@host?python=$(reboot)",
        "ssh://user@host?pyton=python3",
        "ssh://user@host?runtime=tflite",
        "ssh://user@host:port",
        "adb://PHONE;reboot",
        "adb://PHONE?bin=x",
        "tensorrt://host",
    ],
)
def test_addresses_that_a_shell_could_misread_are_refused(url: str) -> None:
    with pytest.raises(TableError):
        open_runner(url)


def test_trtexec_that_fails_is_named(gpu: TensorrtRunner, models: tuple[NamedModel, ...], tmp_path: Path) -> None:
    script(tmp_path / "trtexec", "#!/bin/sh\necho 'Cuda failure: no device' >&2\nexit 1\n")
    with pytest.raises(MeasurementError, match="Cuda failure: no device"):
        list(gpu.measure(models, QUICK))
