"""The models that devices time, and kits that carry them to a device that nothing reaches."""

import json
import os
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from latency_tables.blocks import ACTIVATIONS, Block
from latency_tables.build import ProfilePlan
from latency_tables.devices.kit import table_from_kit, write_kit
from latency_tables.devices.runner import TimingProtocol
from latency_tables.errors import TableError
from latency_tables.measure import SENTINEL_MODEL, MeasureOptions
from latency_tables.onnx_models import NamedModel, build_model
from latency_tables.store import load_table
from tests.latency_tables.conftest import BLOCKS, LARGE, LINEAR, SMALL, network

QUICK = MeasureOptions(
    protocol=TimingProtocol(sessions=1, warmups=1, runs=3, session_ms=0, patience_ms=50), visits=2, repeats=1
)


def _run(model: bytes, shape: tuple[int, ...]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    output: np.ndarray = session.run(None, {session.get_inputs()[0].name: image})[0]
    return output


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("squeeze", [0, 8])
@pytest.mark.parametrize("stride", [1, 2])
def test_an_mbconv_runs_and_has_the_shapes_of_its_block(activation: str, squeeze: int, stride: int) -> None:
    block = Block("mbconv", 9, 8, 8, 5, stride, 24, squeeze, activation, stride == 1)  # type: ignore[arg-type]
    assert _run(build_model([block]), (1, 8, 9, 9)).shape == (1, 8, block.out_size, block.out_size)


def test_a_network_has_the_operators_of_an_export_with_folded_batchnorm() -> None:
    model = onnx.load_from_string(build_model(network(SMALL, LARGE)))
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == [
        *("Conv", "Relu"),
        *("Conv", "Relu", "Conv", "Relu", "Conv", "Add"),
        *("Conv", "Relu", "Conv", "Relu"),
        *("GlobalAveragePool", "Conv", "Relu", "Conv", "HardSigmoid", "Mul"),
        *("Conv", "Add"),
        *("GlobalAveragePool", "Flatten", "Gemm"),
    ]
    assert build_model(network(SMALL)) == build_model(network(SMALL))
    parameters = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    batchnorm = sum(block.mid_channels * 2 + block.out_channels for block in (SMALL, LARGE)) + 8
    assert parameters == sum(block.params for block in network(SMALL, LARGE)) - batchnorm


def test_activations_stay_in_range_however_deep() -> None:
    deep = tuple([LARGE] * 40)
    output = _run(build_model(deep), (1, 8, 8, 8))
    assert np.isfinite(output).all()
    assert 1e-6 < np.abs(output).mean() < 1e6


def test_blocks_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(TableError, match="does not take"):
        build_model([SMALL, Block("conv", 8, 9, 9)])
    with pytest.raises(TableError, match="at least one"):
        build_model([])
    assert _run(SENTINEL_MODEL.onnx_bytes, SENTINEL_MODEL.input_shape).shape == (1, 100)


@pytest.fixture(scope="module")
def plan() -> ProfilePlan:
    nets = [NamedModel(f"n{i}", network(*[SMALL] * (1 + i % 3), *[LARGE] * (i // 3))) for i in range(6)]
    return ProfilePlan(BLOCKS, tuple(nets[:3]), tuple(nets[3:]), "toy", "sha-of-toy")


@pytest.fixture(scope="module")
def results(plan: ProfilePlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a kit that Python ran as a user would, once stopped on its way."""
    folder = tmp_path_factory.mktemp("device")
    assert write_kit(folder / "kit.zip", plan, QUICK, 1) == len(plan.models) + 1
    command = [sys.executable, "-I", "kit.zip"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE)
    partial = folder / "results.json.partial"
    for _ in range(400):
        if partial.is_file() and len(partial.read_text().splitlines()) > 4:
            break
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert partial.is_file()
    with partial.open("a") as stream:
        stream.write('{"kind": "tim')  # torn as a crash tears it
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not partial.exists()
    return folder / "results.json"


def test_a_kit_s_results_make_the_table(results: Path, plan: ProfilePlan, tmp_path: Path) -> None:
    table = table_from_kit(results, tmp_path / "t.json", "sha-of-toy", results.parent / "kit.zip")
    assert load_table(tmp_path / "t.json") == table
    assert table.device.runtime == "onnxruntime"
    assert set(table.rows) == {block.key for block in plan.blocks}
    assert all(row.sessions >= 2 and 0 < row.median_ms < 100 for row in table.rows.values())
    assert table.error is not None
    assert table.error.networks == 3


def test_results_of_another_kit_or_torn_are_refused(results: Path, plan: ProfilePlan, tmp_path: Path) -> None:
    out = tmp_path / "t.json"
    with pytest.raises(TableError, match="another space"):
        table_from_kit(results, out, "sha-of-another")
    other = tmp_path / "other.zip"
    write_kit(other, ProfilePlan(plan.blocks[:3], (), (), "toy", "sha-of-toy"), QUICK, 1)
    with pytest.raises(TableError, match="another one"):
        table_from_kit(results, out, "sha-of-toy", kit=other)
    torn = tmp_path / "torn.json"
    torn.write_bytes(results.read_bytes()[:-100])
    with pytest.raises(TableError, match="torn"):
        table_from_kit(torn, out, "sha-of-toy")
    document = json.loads(results.read_text())
    document["plan"]["blocks"].pop()
    torn.write_text(json.dumps(document))
    with pytest.raises(TableError, match="does not hold together"):
        table_from_kit(torn, out, "sha-of-toy")
    document = json.loads(results.read_text())
    document["entries"] = [entry for entry in document["entries"] if entry.get("name") != LINEAR.key]
    torn.write_text(json.dumps(document))
    with pytest.raises(TableError, match="lacks 1 model"):
        table_from_kit(torn, out, "sha-of-toy")
    assert not out.exists()


@pytest.mark.parametrize("how", ["encrypted", "of an unknown method", "a bomb", "without a job", "a pipe"])
def test_a_kit_that_is_none_is_one_line(results: Path, tmp_path: Path, how: str) -> None:
    kit = tmp_path / "kit.zip"
    if how == "a pipe":
        os.mkfifo(kit)
    elif how in ("a bomb", "without a job"):
        with zipfile.ZipFile(kit, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(
                "job.json" if how == "a bomb" else "readme.txt", bytes(100_000_000 if "bomb" in how else 9)
            )
    else:
        data = bytearray((results.parent / "kit.zip").read_bytes())
        for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            place = -1
            while (place := data.find(header, place + 1)) >= 0:
                data[place + flags + (2 if "method" in how else 0)] = 99 if "method" in how else 1
        kit.write_bytes(data)
    with pytest.raises(TableError, match="is not a kit") as raised:
        table_from_kit(results, tmp_path / "t.json", "sha-of-toy", kit)
    assert "\n" not in str(raised.value)


def test_a_kit_of_int8_says_so_wherever_it_goes(plan: ProfilePlan, tmp_path: Path) -> None:
    options = MeasureOptions(QUICK.protocol, visits=1, repeats=0)
    write_kit(tmp_path / "kit.zip", plan, options, 1, "int8")
    done = subprocess.run([sys.executable, "-I", "kit.zip"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = tmp_path / "results.json"
    table = table_from_kit(results, tmp_path / "t.json", "sha-of-toy", tmp_path / "kit.zip")
    assert table.device.precision == "int8"
    document = json.loads(results.read_text())
    document["device"]["precision"] = "fp32"
    results.write_text(json.dumps(document))
    with pytest.raises(TableError, match="does not hold together"):
        table_from_kit(results, tmp_path / "t.json", "sha-of-toy")


def test_a_large_model_is_small_in_a_kit(tmp_path: Path) -> None:
    wide = Block("mbconv", 7, 160, 160, 7, 1, 960, 240, "hswish", True)
    assert len(build_model([wide])) > 3_000_000
    write_kit(tmp_path / "kit.zip", ProfilePlan((wide,), (), ()), QUICK, 1)
    assert (tmp_path / "kit.zip").stat().st_size < 100_000


PLAIN = (Block("conv", 16, 3, 8, 3, 2, activation="hswish"), Block("conv", 8, 8, 24, activation="hswish"))
HEAD = (*PLAIN, Block("pool", 8, 24, 24), Block("mix", 1, 24, 32, activation="hswish"), Block("linear", 1, 32, 4))
KINDS_OF_GRAPH = [
    *((Block("mbconv", 8, 8, 8, 5, 1, 32, 8, activation, True),) for activation in ACTIVATIONS[1:]),
    HEAD,
    (Block("mbconv", 8, 8, 16, 3, 2, 8, 0, "relu6"),),
]


@pytest.mark.parametrize("blocks", KINDS_OF_GRAPH, ids=lambda blocks: f"{blocks[0].kind}-{blocks[0].activation}")
def test_int8_is_what_onnx_runtime_s_quantiser_makes(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    """The recipe of exports: same operators in the same order, same 8-bit weights, before and after optimising."""
    ours, theirs = tmp_path / "ours.onnx", tmp_path / "theirs.onnx"
    ours.write_bytes(build_model(blocks, precision="int8"))
    _quantise(build_model(blocks), theirs, blocks)
    onnx.checker.check_model(str(ours), full_check=True)
    for optimised in (False, True):
        mine, other = (_shape(path, optimised, tmp_path) for path in (ours, theirs))
        assert mine == other


def _shape(path: Path, optimised: bool, folder: Path) -> tuple[Counter[str], list[str], list[tuple[int, list[int]]]]:
    """Operators, their order without what only converts constants, and types and shapes of the large constants."""
    if optimised:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(folder / f"optimised-{path.name}")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        path = folder / f"optimised-{path.name}"
    graph = onnx.load(str(path)).graph
    operators = [node.op_type for node in graph.node]
    weights = sorted((entry.data_type, list(entry.dims)) for entry in graph.initializer if len(entry.dims) > 1)
    return Counter(operators), [name for name in operators if "Linear" not in name], weights


def _quantise(model: bytes, path: Path, blocks: tuple[Block, ...]) -> None:
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(quantization.CalibrationDataReader):  # type: ignore[misc]
        left = 2

        def get_next(self) -> dict[str, np.ndarray] | None:
            self.left -= 1
            shape = NamedModel("", blocks).input_shape
            image = np.random.default_rng(abs(self.left)).standard_normal(shape, dtype=np.float32)
            return {"input": image} if self.left >= 0 else None

    plain, prepared = path.with_suffix(".plain"), path.with_suffix(".prepared")
    plain.write_bytes(model)
    quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared),
        str(path),
        Images(),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
    )


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("blocks", KINDS_OF_GRAPH, ids=lambda blocks: f"{blocks[0].kind}-{blocks[0].activation}")
def test_other_precisions_compute_about_the_same(blocks: tuple[Block, ...], precision: str) -> None:
    shape = NamedModel("", blocks).input_shape
    exact = _run(build_model(blocks), shape)
    rough = _run(build_model(blocks, precision=precision), shape)  # type: ignore[arg-type]
    assert rough.shape == exact.shape
    assert rough.dtype == np.float32
    if precision == "fp16":
        assert np.abs(rough - exact).max() < 0.02 * np.abs(exact).max()
    else:
        assert np.corrcoef(rough.ravel(), exact.ravel())[0, 1] > 0.9
