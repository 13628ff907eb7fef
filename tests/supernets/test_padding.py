"""TensorFlow's "same" padding and BatchNorm's epsilon: blocks, networks, supernets, files, ONNX."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from exporters import Metadata, Samples, export_all
from latency_tables.blocks import Block, BlockError
from latency_tables.onnx_models import build_model
from pipeline.fewshot.prefix import JudgingImages, judge_all
from pipeline.modelfiles.read import read_model
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.depthwise import DepthwiseConv2d
from pipeline.supernets.evaluate import evaluate_inherited
from pipeline.supernets.files import load_network, load_supernet, save_network, save_supernet
from pipeline.supernets.network import Network
from pipeline.supernets.supernet import SupernetError, inherit
from tests.supernets.lively import lively


@pytest.fixture
def padded(tiny_space: SearchSpace) -> SearchSpace:
    """A space whose networks are padded differently at even sizes, alike at odd ones."""
    return tiny_space.with_numerics("same", 1e-3).with_resolutions((9, 12, 16))


def tensorflow(x: Tensor, weight: Tensor, stride: int, groups: int = 1) -> Tensor:
    """A convolution with the padding that TensorFlow's documentation defines."""
    kernel = weight.shape[-1]
    around = []
    for size in (x.shape[-1], x.shape[-2]):
        missing = max(0, (-(-size // stride) - 1) * stride + kernel - size)
        around += [missing // 2, missing - missing // 2]
    return F.conv2d(F.pad(x, around), weight, None, stride, groups=groups)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("size", [1, 2, 5, 8, 9, 14])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_a_same_block_is_padded_as_tensorflow_pads(kernel: int, size: int, stride: int) -> None:
    block = Block("mbconv", size, 4, 4, kernel, stride, 4, 0, padding="same")
    layer = DepthwiseConv2d(4, kernel, stride, block.pads)
    x = torch.randn(2, 4, size, size).to(memory_format=torch.channels_last)
    expected = tensorflow(x, layer.weight, stride, groups=4)
    assert expected.shape[-1] == block.out_size
    symmetric = F.conv2d(x, layer.weight, None, stride, kernel // 2, groups=4)
    if block.padding == "symmetric":  # it computes the same, so it is the same row of a table
        assert block == replace(block, padding="symmetric")
        torch.testing.assert_close(symmetric, expected)
    torch.testing.assert_close(layer(x), expected)
    # Gradients, by the quick code of training against torch's own.
    own, other, weight = x.clone().requires_grad_(), x.clone().requires_grad_(), layer.weight.detach().clone()
    y, reference = layer(own), tensorflow(other, weight.requires_grad_(), stride, groups=4)
    direction = torch.randn(y.shape)
    got = torch.autograd.grad(y, (own, layer.weight), direction)
    torch.testing.assert_close(got, torch.autograd.grad(reference, (other, weight), direction), rtol=1e-4, atol=1e-4)


def test_keys_change_only_where_the_computation_does() -> None:
    block = Block("mbconv", 8, 4, 4, 3, 2, 4, 0, "relu")
    same = replace(block, padding="same")
    assert block.key == "mbconv in=8x4 out=4 k=3 s=2 mid=4 se=0 act=relu res=0"
    assert same.key == f"{block.key} pad=same"
    assert Block.parse(same.key) == same != block
    assert replace(same, in_size=9) == replace(block, in_size=9)
    assert replace(same, stride=1) == replace(block, stride=1)
    assert (same.pads, block.pads, same.macs, same.params) == ((0, 1), (1, 1), block.macs, block.params)
    assert same.sizeless.pads == same.pads and replace(same, in_size=112).sizeless == same.sizeless
    for spoilt in (f"{block.key} pad=symmetric", f"{block.key} pad=valid", same.key.replace("8x4", "9x4")):
        with pytest.raises(BlockError):
            Block.parse(spoilt)


def test_a_supernet_equals_its_subnets_and_judges_them(padded: SearchSpace) -> None:
    supernet = lively(padded)
    x = torch.randn(6, 3, 16, 16)
    for resolution in padded.resolutions:
        arch = replace(padded.max(), resolution=resolution)
        network = supernet.extract(arch)
        norms = [layer.eps for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
        assert set(norms) == {network.batchnorm_eps} == {1e-3}
        images = x[:, :, :resolution, :resolution]
        supernet.activate(arch)
        torch.testing.assert_close(supernet(images), network(images))
        judging = JudgingImages(x, x, torch.tensor([0, 1, 2, 3, 0, 1]))
        alone = evaluate_inherited(supernet, arch, x, judging.images, judging.labels)
        (shared,) = judge_all(supernet, [arch], judging)
        assert shared.cross_entropy == pytest.approx(alone.cross_entropy, abs=1e-4)


def test_padding_and_epsilon_change_what_a_network_computes(tiny_space: SearchSpace, padded: SearchSpace) -> None:
    arch, x = padded.max(), torch.randn(2, 3, 16, 16)
    network = lively(padded).extract(arch)
    for other in (tiny_space.with_numerics("symmetric", 1e-3), tiny_space.with_numerics("same", 1e-5)):
        changed = Network(other.blocks(arch), batchnorm_eps=other.batchnorm_eps).eval()
        changed.load_state_dict(network.state_dict())
        assert (changed(x) - network(x)).abs().max() > 1e-4


def test_files_keep_the_epsilon_and_older_ones_have_torch_s(padded: SearchSpace, tmp_path: Path) -> None:
    supernet = lively(padded)
    save_supernet(supernet, tmp_path / "supernet.safetensors")
    assert load_supernet(tmp_path / "supernet.safetensors").space == padded
    path = tmp_path / "network.safetensors"
    network = supernet.extract(padded.max())
    save_network(network, path)
    assert load_network(path).batchnorm_eps == 1e-3
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(load_network(path)(x), network(x))
    with safe_open(path, "pt") as stream:
        about = stream.metadata()["pocketnas"]
    save_file(load_file(path), path, {"pocketnas": about.replace('"batchnorm_eps": 0.001, ', "")})
    assert load_network(path).batchnorm_eps == 1e-5


def test_weights_are_handed_on_only_where_the_numerics_agree(tiny_space: SearchSpace, padded: SearchSpace) -> None:
    parent = lively(padded)
    assert inherit(parent, padded.with_resolutions([9])).space.batchnorm_eps == 1e-3
    with pytest.raises(SupernetError, match="batchnorm_eps"):
        inherit(parent, tiny_space.with_numerics("same", 1e-5))
    with pytest.raises(SupernetError, match="stem"):
        inherit(parent, tiny_space.with_numerics("symmetric", 1e-3))


def test_an_export_pads_inside_its_convolutions_and_is_recognised(padded: SearchSpace, tmp_path: Path) -> None:
    arch = padded.max()
    samples = Samples(np.random.default_rng(0).standard_normal((8, 3, 16, 16), dtype=np.float32))
    targets = ["onnx", "coreml"]
    reports = export_all(lively(padded).extract(arch), samples, targets, tmp_path, Metadata(), optional=["coreml"])
    assert {report.parity.status for report in reports} <= {"passed", "not run"}
    path = tmp_path / str(reports[0].path)
    model = onnx.load(path)
    assert "Pad" not in {node.op_type for node in model.graph.node}
    assert any(len(set(a.ints)) > 1 for node in model.graph.node for a in node.attribute if a.name == "pads")
    found = read_model(path).recognised
    assert found is not None
    assert found.exact and found.blocks == padded.blocks(arch)


def test_a_block_s_model_computes_what_its_module_does() -> None:
    block = Block("mbconv", 8, 4, 6, 5, 2, 8, 0, "relu6", padding="same")
    model = onnx.load_from_string(build_model((block,)))
    weights = [torch.from_numpy(onnx.numpy_helper.to_array(w).copy()) for w in model.graph.initializer]
    x = torch.randn(1, 4, 8, 8)
    expand, b1, _, _, depthwise, b2, _, _, project, b3 = weights
    y = F.relu6(F.conv2d(x, expand, b1))
    y = F.relu6(tensorflow(y, depthwise, 2, groups=8) + b2.view(1, -1, 1, 1))
    y = F.conv2d(y, project, b3)
    (got,) = ort.InferenceSession(model.SerializeToString()).run(None, {"input": x.numpy()})
    np.testing.assert_allclose(got, y.numpy(), rtol=1e-4, atol=1e-4)
