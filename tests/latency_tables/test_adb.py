"""Android phones: what is pushed, run, read and removed, of both programs."""

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from latency_tables.devices.adb import AdbRunner
from latency_tables.devices.programs import BenchmarkModel, PerfTest, read_program
from latency_tables.devices.registry import open_runner
from latency_tables.devices.runner import TimingProtocol
from latency_tables.errors import MeasurementError, TableError
from latency_tables.onnx_models import NamedModel
from tests.latency_tables.scripted import BENCHMARK_MODEL, PERF_TEST, script, scripted_phone

QUICK = TimingProtocol(sessions=2, warmups=1, runs=3, session_ms=0)
PROGRAMS = {"onnxruntime": PERF_TEST, "litert": BENCHMARK_MODEL}


def _left(folder: Path) -> list[Path]:
    return list((folder / "phone/data/local/tmp").iterdir())


@pytest.mark.parametrize("runtime", PROGRAMS)
def test_a_program_of_any_name_times_networks_and_is_removed(
    runtime: str, models: tuple[NamedModel, ...], tmp_path: Path
) -> None:
    phone = scripted_phone(tmp_path, PROGRAMS[runtime])
    device = phone.describe()
    assert (device.name, device.architecture, device.cores, device.threads) == ("Pixel", "arm64-v8a", 8, 2)
    assert device.runtime == runtime
    assert device.runtime_version.startswith("a program ")
    timings = list(phone.measure(models, QUICK))
    assert [timing.name for timing in timings] == [model.name for model in models]
    assert all(len(timing.session_ms) == 2 and timing.runs >= 6 for timing in timings)
    assert _left(tmp_path) == []
    log = (tmp_path / "phone/log").read_text()
    words = {"onnxruntime": "-r 3 -x 2 -I -s /data/local/tmp/pocketnas/model.onnx"}
    words["litert"] = "--graph=/data/local/tmp/pocketnas/model.tflite --num_threads=2 --warmup_runs=1"
    assert words[runtime] in log


def test_litert_s_microseconds_are_read(models: tuple[NamedModel, ...], tmp_path: Path) -> None:
    (first, *_) = scripted_phone(tmp_path, BENCHMARK_MODEL).measure(models, QUICK)
    us = len(models[0].tflite_bytes) // 10 + 1
    assert first.session_ms == pytest.approx([(us + 0.25) / 1000] * 2)
    assert first.runs == 14


@pytest.mark.parametrize("program", PROGRAMS.values())
def test_output_without_a_latency_is_refused(program: str, models: tuple[NamedModel, ...], tmp_path: Path) -> None:
    phone = scripted_phone(tmp_path, program)
    mark = "Running benchmark for at least "  # what tells LiteRT's
    script(tmp_path / "a program", f"#!/bin/sh\n# {mark if mark in program else ''}\necho 'cannot load it'; exit 3\n")
    with pytest.raises(MeasurementError, match=r"PHONE did not time 'one': .*cannot load it it failed with status 3"):
        list(phone.measure(models, QUICK))
    assert _left(tmp_path) == []


@pytest.mark.parametrize(
    ("program", "more", "said"),
    [
        (BENCHMARK_MODEL, "&delegate=tpu", "'tpu' is unknown; accepted are gpu, npu, nnapi"),
        (PERF_TEST, "&delegate=gpu", "is for LiteRT's benchmark_model"),
        (PERF_TEST, "&library=/nowhere/lib.so", "no benchmark program /nowhere/lib.so"),
    ],
)
def test_what_a_program_has_not_is_told(
    program: str, more: str, said: str, models: tuple[NamedModel, ...], tmp_path: Path
) -> None:
    with pytest.raises(TableError, match=said) as caught:
        list(scripted_phone(tmp_path, program, more).measure(models, QUICK))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("WARN: Unconsumed cmdline flags: --use_gpu=true", "does not know --use_gpu"),
        (
            "INFO: Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate.",
            "the GPU does not run all of it",
        ),
        (
            "Explicitly applied GPU delegate, and the model graph will be partially executed by the delegate w/ 2 ",
            "the GPU does not run all of it",
        ),
    ],
)
def test_a_cpu_s_milliseconds_are_never_an_accelerator_s(
    line: str, said: str, models: tuple[NamedModel, ...], tmp_path: Path
) -> None:
    phone = scripted_phone(tmp_path, f"{BENCHMARK_MODEL}\necho '{line}'\n", "&delegate=gpu")
    with pytest.raises(MeasurementError, match=said):
        list(phone.measure(models, QUICK))


def test_an_accelerator_is_asked_for_and_recorded(models: tuple[NamedModel, ...], tmp_path: Path) -> None:
    library = script(tmp_path / "libLiteRtDispatch.so", "")
    phone = scripted_phone(tmp_path, BENCHMARK_MODEL, f"&delegate=npu&library={library}")
    assert phone.describe().delegate == "NPU"
    assert len(list(phone.measure(models, QUICK))) == 2
    log = (tmp_path / "phone/log").read_text()
    assert "--use_npu=true --use_cpu=false --require_full_delegation=true" in log
    assert "--dispatch_library_path=/data/local/tmp/pocketnas" in log
    assert "/data/local/tmp/pocketnas/libLiteRtDispatch.so" in log


def test_statistics_of_the_real_program_are_read() -> None:
    program = BenchmarkModel("1")
    warm = "INFO: count=5 first=106436 curr=105929 min=105929 max=106436 avg=106065 std=193 p5=1 median=1 p95=1\n\n"
    runs = "INFO: count=50 first=106022 curr=105780 min=105416 max=106528 avg=105784 std=260 p5=2 median=105718 p95=3"
    assert program.read(warm + runs, QUICK) == pytest.approx((105.7185, 50))  # a mean is never followed far
    same = "INFO: count=50 curr=12(all same) p5=12 median=12 p95=12\n"
    assert program.read(warm + same, QUICK) == (0.012, 50)
    large = "count=2 first=1 curr=2 min=1 max=2 avg=1.29563e+06 std=9 p5=1 median=1295630 p95=2"
    assert program.read(warm + large, QUICK)[0] == pytest.approx(1295.63)
    for nothing in ("", warm, "count=50 first=1 curr=2 min=1 max=3 avg=2 std=1\n" * 2):
        with pytest.raises(ValueError, match="printed no median"):
            program.read(nothing, QUICK)


def test_a_program_is_told_by_what_it_prints(tmp_path: Path) -> None:
    one, other = script(tmp_path / "onnxruntime_perf_test", BENCHMARK_MODEL), script(tmp_path / "x", PERF_TEST)
    assert isinstance(read_program(one), BenchmarkModel)
    assert isinstance(read_program(other), PerfTest)
    assert read_program(one).version != read_program(other).version


def test_adb_without_its_program_says_how_to_name_it(models: tuple[NamedModel, ...], tmp_path: Path) -> None:
    phone = scripted_phone(tmp_path, PERF_TEST)
    bare = AdbRunner(urlsplit("adb://PHONE"), 1, adb=phone.adb)
    for use in (bare.describe, lambda: list(bare.measure(models, QUICK))):
        with pytest.raises(TableError, match="binary=PATH"):
            use()


def test_real_adb_without_the_phone() -> None:
    """As far as the real client goes: its server starts and knows no such phone."""
    try:
        subprocess.run(["adb", "version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no adb on this machine")
    with pytest.raises(MeasurementError, match="no-such-phone") as caught:
        open_runner("adb://no-such-phone").describe()
    assert caught.value.exit_code == 3
