"""Blocks found again in int8 graphs: ours, and those of ONNX Runtime's quantiser."""

import random
from pathlib import Path

import numpy as np
import onnx
import pytest

from latency_tables.blocks import Activation, Block
from latency_tables.onnx_models import build_model
from pipeline.modelfiles.read import read_model
from pipeline.modelfiles.recognise import Recognised
from pipeline.spaces.files import load_space
from tests.gate.conftest import TINY
from tests.spaces.families import FAMILIES


def found_in(path: Path) -> Recognised:
    found = read_model(path).recognised
    assert found is not None
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_every_preset_space_is_recognised_in_int8(name: str, tmp_path: Path) -> None:
    space, rng, path = load_space(name).with_resolutions([64]), random.Random(name), tmp_path / "network.onnx"
    for arch in (space.min(), space.sample(rng)):
        blocks = space.blocks(arch)
        path.write_bytes(build_model(blocks, precision="int8"))
        found = found_in(path)
        assert found.blocks == blocks
        assert (found.exact, found.precision, found.leftover) == (True, "int8", ())


def network(activation: Activation, squeezed: int = 0) -> tuple[Block, ...]:
    """Every kind of block with one activation; the last feature map is one pixel."""
    return (
        Block("conv", 8, 3, 8, 3, 2, activation=activation),
        Block("mbconv", 4, 8, 8, 3, 1, 24, squeezed, activation, True),
        Block("mbconv", 4, 8, 12, 5, 2, 24, squeezed, activation),
        Block("mbconv", 2, 12, 12, 3, 2, 12, 0, activation),
        Block("conv", 1, 12, 24, activation=activation),
        Block("pool", 1, 24, 24),
        Block("linear", 1, 24, 10),
    )


def quantised(blocks: tuple[Block, ...], path: Path, **options: object) -> Path:
    """The blocks' fp32 graph as `quantize_static` makes it, from images of a standard normal distribution."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    plain, prepared = path.with_suffix(".plain"), path.with_suffix(".prepared")
    plain.write_bytes(build_model(blocks))
    quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
    shape = (1, 3, blocks[0].in_size, blocks[0].in_size)
    images = (
        {"input": np.random.default_rng(seed).normal(scale=3, size=shape).astype(np.float32)} for seed in range(6)
    )

    class Images(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(images, None)

    quantization.quantize_static(str(prepared), str(path), Images(), **options)
    return path


NETWORKS = [network("relu"), network("relu6"), network("relu", 4), network("relu6", 4), network("hswish", 4), TINY]


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("blocks", NETWORKS, ids=["relu", "relu6", "relu-se", "relu6-se", "hswish-se", "tiny"])
def test_files_of_onnx_runtime_s_quantiser_are_recognised(blocks: tuple[Block, ...], form: str, tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType

    for activations in (QuantType.QUInt8, QuantType.QInt8):
        path = tmp_path / f"{activations.name}.onnx"
        quantised(blocks, path, quant_format=QuantFormat[form], activation_type=activations)
        found = found_in(path)
        assert found.blocks == blocks
        assert (found.exact, found.precision, found.leftover) == (True, "int8", ())


def test_the_recipe_for_tensorrt_keeps_its_activations(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType

    extra = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    path = quantised(
        NETWORKS[3], tmp_path / "a.onnx", activation_type=QuantType.QInt8, per_channel=True, extra_options=extra
    )
    found = found_in(path)
    assert (found.blocks, found.exact, found.precision) == (NETWORKS[3], True, "int8")


def test_what_the_runtime_optimised_again_is_recognised(tmp_path: Path) -> None:
    import onnxruntime

    path, target = quantised(NETWORKS[2], tmp_path / "a.onnx"), tmp_path / "optimised.onnx"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    assert "com.microsoft" in {node.domain for node in onnx.load(target).graph.node}
    found = found_in(target)
    assert (found.blocks, found.exact, found.precision) == (NETWORKS[2], True, "int8")


def test_a_network_that_is_quantised_in_part_is_of_no_one_precision(tmp_path: Path) -> None:
    """Neither an int8 nor an fp32 table knows what it takes."""
    from onnxruntime.quantization import quantize_dynamic

    path = tmp_path / "a.onnx"
    path.write_bytes(build_model(TINY))
    convolutions = [node.name or node.output[0] for node in onnx.load(path).graph.node if node.op_type == "Conv"]
    quantised(TINY, tmp_path / "part.onnx", op_types_to_quantize=["Gemm", "GlobalAveragePool"])
    assert convolutions
    assert found_in(tmp_path / "part.onnx").precision == "mixed"
    quantize_dynamic(str(path), str(tmp_path / "dynamic.onnx"))
    assert found_in(tmp_path / "dynamic.onnx").precision == "mixed"
