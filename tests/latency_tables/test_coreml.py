"""Core ML packages compute what ONNX files do; a phone is driven by coremltools' real code up to Apple's tools."""

import contextlib
import io
import json
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from latency_tables.blocks import Block
from latency_tables.build import ProfilePlan
from latency_tables.coreml_models import write_coreml
from latency_tables.devices.coreml import CoremlRunner
from latency_tables.devices.coreml_script import CoremlDevice
from latency_tables.devices.kit import kit_runtime, table_from_kit, write_kit
from latency_tables.devices.kit_script import run_kit
from latency_tables.devices.registry import open_runner
from latency_tables.devices.runner import DeviceOptions, TimingProtocol
from latency_tables.errors import MeasurementError, TableError
from latency_tables.measure import MeasureOptions
from latency_tables.onnx_models import NamedModel, build_model
from latency_tables.table import PRECISIONS, Precision
from tests.latency_tables.conftest import LINEAR, POOL, SMALL, STEM, network
from tests.latency_tables.iphone import plug_in

EVERYTHING = (
    Block("conv", 15, 3, 8, 3, 2, activation="hswish"),
    Block("mbconv", 8, 8, 8, 3, 1, 16, 8, "relu", True),
    Block("mbconv", 8, 8, 12, 5, 2, 24, 8, "silu"),
    Block("mbconv", 4, 12, 12, 3, 2, 24, 0, "relu6", padding="same"),
    Block("pool", 2, 12, 12),
    Block("mix", 1, 12, 16, activation="hswish"),
    Block("linear", 1, 16, 12, activation="relu"),
    Block("linear", 1, 12, 10),
)
QUICK = TimingProtocol(sessions=1, warmups=1, runs=2, session_ms=0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_network_computes_what_it_does_in_onnx(precision: Precision, tmp_path: Path) -> None:
    import onnxruntime

    from exporters.coreml.run import MilRuntime

    session = onnxruntime.InferenceSession(build_model(EVERYTHING))
    picture = np.random.default_rng(0).standard_normal((1, 3, 15, 15), dtype=np.float32)
    (wanted,) = session.run(None, {"input": picture})
    write_coreml(tmp_path / "m.mlpackage", EVERYTHING, precision)
    found = MilRuntime(tmp_path / "m.mlpackage").run(picture)
    assert np.abs(found - wanted).max() < (1e-5 if precision == "fp32" else 0.01)


def test_a_connected_phone_tells_how_long_its_predictions_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    phone = plug_in(tmp_path, monkeypatch)
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    url = urlsplit("coreml://Anna's iPhone?units=ne")
    runner = CoremlRunner(url, DeviceOptions(precision="fp16"), CoremlDevice("Anna's iPhone", "ne"))
    device = runner.describe()
    assert (device.name, device.system, device.runtime_version) == ("Anna's iPhone", "iphone OS 26.1", "23B85")
    assert (device.delegate, device.precision) == ("ne", "fp16")
    (timing,) = runner.measure([NamedModel("one", network(SMALL), precision="fp16")], QUICK)
    assert timing.session_ms == pytest.approx([3 * 16 * 16 / 1000])
    assert timing.runs == 2
    runner.close()
    log = (phone / "log").read_text()
    assert log.count("device process launch") == 1
    assert log.count("device copy to") == 2 * 4 + 1  # a file and a message to load and for 3 runs; to unload
    out, err = capsys.readouterr()
    assert out == ""
    assert "data transfer" not in err
    assert list(temporary.glob("*.bin")) == []  # coremltools leaves one a prediction


def test_a_phone_that_is_not_connected_is_told_with_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(tmp_path, monkeypatch)
    runner = CoremlRunner(urlsplit("coreml://iPad"), DeviceOptions(), CoremlDevice("iPad"))
    with pytest.raises(MeasurementError, match="no device 'iPad' is connected; connected are: \"Anna's iPhone\""):
        runner.describe()


def test_elsewhere_than_on_a_mac_other_ways_are_told() -> None:
    with pytest.raises(MeasurementError, match=r"needs a Mac.*--kit KIT.zip --device coreml.*--device web"):
        open_runner("coreml://iPhone").describe()


@pytest.mark.parametrize(
    "url", ["coreml://x?unit=ne", "coreml://x?units=tpu", "coreml://x/y", "coreml://x?team=A;reboot", "coreml://x%0A"]
)
def test_addresses_that_apple_s_tools_could_misread_are_refused(url: str) -> None:
    with pytest.raises(TableError, match="accepted is coreml://DEVICE NAME"):
        open_runner(url)


def test_a_kit_times_packages_and_tells_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(tmp_path, monkeypatch)
    blocks = (STEM, SMALL, POOL, LINEAR)
    plan = ProfilePlan(blocks, (NamedModel("a", network(SMALL)),), (), "tiny", "0" * 64)
    options = MeasureOptions(QUICK, visits=1, repeats=0)
    kit = tmp_path / "kit.zip"
    assert write_kit(kit, plan, options, 1, "fp16", kit_runtime("coreml")) == 6
    with zipfile.ZipFile(kit) as archive:
        job = json.loads(archive.read("job.json"))
        assert "CoremlDevice" in archive.read("__main__.py").decode()
        page = archive.read("README.txt").decode()
        with zipfile.ZipFile(io.BytesIO(archive.read(job["files"]["a"]))) as package:
            assert "model.mlpackage/Manifest.json" in package.namelist()
    assert 'python3 kit.zip "NAME OF THE PHONE" all TEAM' in page
    assert "the tab Performance" in page
    with contextlib.chdir(tmp_path):
        assert run_kit(str(kit), CoremlDevice("Anna's iPhone")) == 0
    table = table_from_kit(tmp_path / "results.json", tmp_path / "t.json", "0" * 64, kit)
    assert (table.device.runtime, table.device.precision) == ("coreml", "fp16")
    assert set(table.rows) == {block.key for block in blocks}


def test_kits_are_for_what_can_be_carried() -> None:
    with pytest.raises(TableError, match=r"host, host\+litert, coreml .*, not for 'adb://x'"):
        kit_runtime("adb://x")
