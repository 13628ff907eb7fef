"""Engines, built without a GPU where tensorrt_rtx is installed; the subprocess around the builder everywhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from exporters import ConversionFailed, ExportOptions, Metadata, UnsupportedOperator, WrongInput, export_all
from exporters.tensorrt.write import work
from tests.exporters.conftest import METADATA, Exported, Trained, available

BUILDS = pytest.mark.skipif(not available("tensorrt"), reason="needs pocketnas[tensorrt]")


def fake_module(folder: Path, body: str) -> None:
    (folder / "fake_trt.py").write_text(body)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", r"ended with signal 11: it said nothing"),
        ("raise OSError('libnvinfer.so.10 is missing')", r"ended with exit code 1: .*libnvinfer.so.10 is missing"),
    ],
)
def test_a_crash_of_the_builder_is_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, told: str
) -> None:
    fake_module(tmp_path, body)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConversionFailed, match=told) as caught:
        work("build", {"module": "fake_trt"})
    assert "\n" not in str(caught.value)


def test_an_unknown_gpu_target_is_refused() -> None:
    with pytest.raises(WrongInput, match=r"SM99.*accepted are SM80"):
        ExportOptions(gpu_targets=("SM80", "SM99"))


@BUILDS
def test_engines_are_built_and_their_parity_is_not_claimed(exported: Exported) -> None:
    for target in ("tensorrt", "tensorrt-fp16", "tensorrt-int8"):
        report = exported.reports[target]
        assert report.size_bytes > 10_000
        assert report.notes["gpu_targets"] == "SM80, SM86, SM89, SM120"
        assert report.parity.status == "passed" or "built, not run" in report.parity.reason
    if exported.reports["tensorrt"].parity.status == "not run":
        assert exported.reports["tensorrt"].latency_ms is None


@BUILDS
def test_an_engine_is_taken_from_the_cache_unless_something_changed(
    trained: Trained, exported: Exported, engine_cache: Path, tmp_path: Path
) -> None:
    def built(network: nn.Module, targets: tuple[str, ...]) -> tuple[str, str]:
        options = ExportOptions(cache_dir=engine_cache, gpu_targets=targets)
        (report,) = export_all(network, trained.samples, ["tensorrt-fp16"], tmp_path, METADATA, options)
        return report.notes["cache"], report.sha256

    same = exported.reports["tensorrt-fp16"]
    assert built(trained.network, ("SM80", "SM86", "SM89", "SM120")) == ("hit", same.sha256)
    assert built(trained.network, ("SM86",))[0] == "miss"
    assert built(nn.Sequential(*trained.network.children(), nn.ReLU()).eval(), ("SM86",))[0] == "miss"
    for kept in engine_cache.glob("*.engine"):
        kept.write_bytes(kept.read_bytes()[:-1])
    assert built(trained.network, ("SM86",))[0] == "miss"  # a torn engine is not taken


@BUILDS
def test_an_operator_that_tensorrt_lacks_is_named(trained: Trained, tmp_path: Path) -> None:
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.linear(torch.linalg.det(x))
            return logits

    options = ExportOptions(cache_dir=tmp_path / "cache")
    with pytest.raises(UnsupportedOperator, match="Det"):
        export_all(Strange(), trained.samples, ["tensorrt"], tmp_path, Metadata(), options)


@BUILDS
def test_no_engine_is_an_error_with_the_log(tmp_path: Path, exported: Exported) -> None:
    job = {
        "module": "tensorrt_rtx",
        "onnx": str(exported.folder / "model.onnx"),
        "engine": str(tmp_path / "x.engine"),
        "name": "",
        "capabilities": ["SM75"],  # has no fp32 GEMM, so no engine comes of it
        "largest_batch": 1,
        "timing_cache": str(tmp_path / "timing"),
        "keep_timing_cache": False,
    }
    answer, _ = work("build", job)
    assert answer["ok"] is False and answer["kind"] == "build"
    assert answer["error"].startswith("no engine was built: ") and len(answer["error"]) > 40
    assert not (tmp_path / "x.engine").exists()


@BUILDS
def test_any_batch_size_builds(trained: Trained, engine_cache: Path, tmp_path: Path) -> None:
    options = ExportOptions(batch=None, cache_dir=engine_cache, gpu_targets=("SM86",))
    (report,) = export_all(trained.network, trained.samples, ["tensorrt"], tmp_path, Metadata(), options)
    assert (tmp_path / str(report.path)).stat().st_size == report.size_bytes > 10_000


def test_without_a_gpu_the_driver_is_what_is_missing() -> None:
    from exporters import CannotRun
    from exporters.tensorrt.cuda import Cuda

    if Path("/dev/nvidia0").exists():
        pytest.skip("here is a GPU")
    with pytest.raises(CannotRun, match="no NVIDIA GPU"), Cuda():
        pass


def test_the_worker_needs_nothing_of_the_caller(tmp_path: Path) -> None:
    # Started from another folder, as by a user's own script.
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import exporters.tensorrt.worker"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
    )
    assert done.returncode == 0
