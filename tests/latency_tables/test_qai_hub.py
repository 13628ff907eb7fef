"""AI Hub up to its client: what is submitted and read. No job was ever run there from here."""

import inspect
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from latency_tables.blocks import Block
from latency_tables.build import ProfilePlan, measure_table
from latency_tables.devices.qai_hub import QaiHubRunner
from latency_tables.devices.registry import open_runner
from latency_tables.devices.runner import DeviceOptions, TimingProtocol
from latency_tables.errors import MeasurementError, TableError
from latency_tables.onnx_models import NamedModel
from pipeline.profiling import ProfileOptions, profile_by_transfer
from pipeline.spaces.files import load_space
from tests.latency_tables.hub import Hub, Job, Status
from tests.latency_tables.test_profiling import FAST, _exact_table

PROTOCOL = TimingProtocol()


def _runner(hub: Hub, url: str = "qai-hub://Samsung Galaxy S24", options: DeviceOptions | None = None) -> QaiHubRunner:
    return QaiHubRunner(urlsplit(url), options or DeviceOptions(), hub)


def _network(name: str = "a") -> NamedModel:
    return NamedModel(name, (Block("conv", 16, 3, 8, 3, 2), Block("pool", 8, 8, 8), Block("linear", 1, 8, 10)))


def test_a_network_is_one_job_however_often_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    hub = Hub()
    runner = _runner(hub, "qai-hub://Samsung%20Galaxy%20S24?compute_unit=npu")
    device = runner.describe()
    assert (device.name, device.soc, device.delegate) == ("Samsung Galaxy S24", "qualcomm-snapdragon-8gen3", "npu")
    timings = list(runner.measure([_network("a"), _network("b"), _network("a")], PROTOCOL))
    size = len(_network().tflite_bytes)
    assert hub.submitted == [("Samsung Galaxy S24", size, "--compute_unit npu")] * 2
    assert [timing.name for timing in timings] == ["a", "b", "a"]
    assert {timing.session_ms for timing in timings} == {(size // 100 / 1000,)}
    assert capsys.readouterr().out == ""


def test_twenty_jobs_and_a_table_of_another_device_make_one(tmp_path: Path) -> None:
    space, hub = load_space("quickstart"), Hub()
    options = ProfileOptions(calibration=20, held_out=4, measure=FAST.measure)
    table = profile_by_transfer(space, _runner(hub), tmp_path / "t.json", [_exact_table(space)], options)
    assert len(hub.submitted) == 20 + 4 + 1  # a sentinel
    assert table.device.name == "Samsung Galaxy S24"
    assert not table.missing(space.distinct_blocks())


def test_blocks_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    hub = Hub()
    with pytest.raises(TableError, match=r"whole networks, not the block 'pool'.*--like TABLE"):
        list(_runner(hub).measure([_network(), NamedModel("pool", (Block("pool", 8, 8, 8),))], PROTOCOL))
    assert hub.submitted == []
    plan = ProfilePlan((Block("pool", 8, 8, 8),), (), ())
    with pytest.raises(TableError, match="whole networks"):
        measure_table(plan, _runner(hub), tmp_path / "t.json", FAST.measure)
    assert list(tmp_path.iterdir()) == []  # no journal of nothing


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Job([], Status(False, "FAILED", "│ no such │ operator │")), "did not time 'a': no such operator"),
        (Job([float("nan")]), "no microseconds"),
        (Job(["<script>"]), "no microseconds"),
        (Job([-3]), "no microseconds"),
        (Job(5), "no microseconds"),
    ],
)
def test_answers_without_a_latency_are_refused(answer: Job, said: str) -> None:
    with pytest.raises(MeasurementError, match=said) as caught:
        list(_runner(Hub(answer)).measure([_network()], PROTOCOL))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("qai-hub://", DeviceOptions(), "names no device"),
        ("qai-hub://S24?unit=npu", DeviceOptions(), "names no device"),
        ("qai-hub://S24?compute_unit=tpu", DeviceOptions(), "'tpu' is unknown"),
        ("qai-hub://S24%0Aname", DeviceOptions(), "names no device"),
        ("qai-hub://S24", DeviceOptions(threads=4), "leave --threads away"),
    ],
)
def test_what_the_hub_does_not_take_is_told(url: str, options: DeviceOptions, said: str) -> None:
    with pytest.raises(TableError, match=said):
        open_runner(url, options)


def test_an_unknown_device_and_a_missing_client_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MeasurementError, match="no device 'Nokia 3310'"):
        _runner(Hub(), "qai-hub://Nokia 3310").describe()
    monkeypatch.setitem(sys.modules, "qai_hub", None)
    with pytest.raises(MeasurementError, match=r"pip install 'pocketnas\[qai-hub\]'"):
        open_runner("qai-hub://S24").describe()


def test_the_real_client_has_what_is_called_and_asks_for_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("qai_hub", reason="AI Hub's client is not installed")
    asked = inspect.signature(Hub.submit_inference_job).parameters.keys() - {"self"}
    assert asked <= inspect.signature(hub.submit_inference_job).parameters.keys()
    assert hub.Device("Samsung Galaxy S24").name == "Samsung Galaxy S24"
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(MeasurementError, match=r"AI Hub: .*client.ini not found"):
        open_runner("qai-hub://Samsung Galaxy S24").describe()
