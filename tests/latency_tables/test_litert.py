"""TFLite files of blocks compute what their ONNX files do, and LiteRT runs all of them in XNNPACK."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_tables.blocks import Block
from latency_tables.build import ProfilePlan, measure_table
from latency_tables.devices.registry import open_runner
from latency_tables.devices.runner import DeviceOptions, TimingProtocol
from latency_tables.errors import MeasurementError, TableError
from latency_tables.measure import SENTINEL_MODEL, MeasureOptions
from latency_tables.onnx_models import NamedModel, build_model
from latency_tables.table import Precision
from latency_tables.tflite_models import build_tflite

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is not installed")

NETWORKS = {
    "stem": (Block("conv", 16, 3, 8, 3, 2, activation="hswish"),),
    "stem of an odd size": (Block("conv", 15, 3, 8, 3, 2, activation="relu6"),),
    "stem padded by TensorFlow": (Block("conv", 16, 3, 8, 3, 2, activation="relu6", padding="same"),),
    "squeezed": (Block("mbconv", 8, 8, 8, 3, 1, 16, 8, "relu", True),),
    "smooth": (Block("mbconv", 8, 8, 12, 5, 2, 24, 8, "silu"),),
    "no expansion": (Block("mbconv", 9, 8, 12, 7, 2, 8, 0, "hswish"),),
    "head": (
        Block("conv", 4, 12, 24, activation="hswish"),
        Block("pool", 4, 24, 24),
        Block("mix", 1, 24, 16, activation="hswish"),
        Block("linear", 1, 16, 12, activation="relu"),
        Block("linear", 1, 12, 10),
    ),
}


def _interpreter(data: bytes) -> Any:
    interpreter = litert.Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _outputs(blocks: tuple[Block, ...], precision: Precision) -> tuple[Any, Any]:
    """What LiteRT and ONNX Runtime (in 32 bits) compute of the same picture, channels last."""
    import onnxruntime

    session = onnxruntime.InferenceSession(build_model(blocks))
    (entry,) = session.get_inputs()
    picture = np.random.default_rng(0).standard_normal(entry.shape, dtype=np.float32)
    (wanted,) = session.run(None, {entry.name: picture})
    interpreter = _interpreter(build_tflite(blocks, precision))
    given = interpreter.get_input_details()[0]
    planes = blocks[0].in_channels == 3
    interpreter.set_tensor(given["index"], picture if planes else picture.transpose(0, 2, 3, 1))
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return found, wanted if wanted.ndim == 2 else wanted.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_computes_what_it_does_in_onnx(name: str) -> None:
    found, wanted = _outputs(NETWORKS[name], "fp32")
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-5
    rounded, _ = _outputs(NETWORKS[name], "int8")
    assert np.corrcoef(rounded.ravel(), wanted.ravel())[0, 1] > 0.99


LITE = (
    Block("conv", 32, 3, 16, 3, 2, activation="relu6", padding="same"),
    Block("mbconv", 16, 16, 16, 5, 1, 48, 0, "relu6", True),
    Block("mbconv", 16, 16, 24, 3, 2, 48, 0, "relu6", padding="same"),
    Block("pool", 8, 24, 24),
    Block("linear", 1, 24, 10),
)


@pytest.mark.parametrize(("blocks", "precision"), [(SENTINEL_MODEL.blocks, "fp32"), (LITE, "fp32"), (LITE, "int8")])
def test_xnnpack_runs_a_whole_network_as_one(blocks: tuple[Block, ...], precision: Precision) -> None:
    # Not so the hard swish of int8, which XNNPACK leaves to LiteRT's own kernels.
    interpreter = _interpreter(build_tflite(blocks, precision))
    assert [one["op_name"] for one in interpreter._get_ops_details()].count("DELEGATE") == 1


def test_what_litert_is_not_measured_in_is_told(tmp_path: Path) -> None:
    half = DeviceOptions(precision="fp16")
    for device in ("host+litert", "ssh://board?runtime=litert", "qai-hub://S24"):
        with pytest.raises(TableError, match="litert is measured in fp32 or int8, not in fp16"):
            open_runner(device, half)


def test_a_python_without_litert_is_told(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="cannot be started: No such file"):
        open_runner("host+litert?python=/nowhere").describe()
    python = tmp_path / "python"  # this one without its packages
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    python.chmod(0o755)
    with pytest.raises(MeasurementError, match=r"this Python has no LiteRT; run: .* -m pip install ai-edge-litert"):
        open_runner(f"host+litert?python={python}").describe()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_table_is_made_on_this_machine(precision: Precision, tmp_path: Path) -> None:
    runner = open_runner("host+litert", DeviceOptions(precision=precision))
    plan = ProfilePlan(LITE, (NamedModel("a", LITE), NamedModel("b", LITE[:3])), ())
    protocol = TimingProtocol(sessions=1, warmups=1, runs=5, session_ms=0)
    table = measure_table(plan, runner, tmp_path / "t.json", MeasureOptions(protocol, visits=1, repeats=0))
    assert (table.device.runtime, table.device.delegate, table.device.precision) == ("litert", "XNNPACK", precision)
    assert set(table.rows) == {block.key for block in LITE}
