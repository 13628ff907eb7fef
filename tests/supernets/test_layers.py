"""Blocks, the depthwise gradient, BatchNorm statistics, augmentation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from latency_tables.blocks import ACTIVATIONS, Block
from pipeline.errors import PipelineError
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.augment import Augmentation, resize
from pipeline.supernets.batchnorm import fold_batchnorm, reestimate_batchnorm
from pipeline.supernets.data import TrainingData
from pipeline.supernets.depthwise import DepthwiseConv2d
from pipeline.supernets.evaluate import evaluate, evaluate_inherited, refresh_batchnorm
from pipeline.supernets.modules import BlockModule
from pipeline.supernets.network import Network
from tests.supernets.lively import lively


@given(
    kernel=st.sampled_from((1, 3, 5, 7, 9, 11)),
    stride=st.sampled_from((1, 2)),
    height=st.integers(1, 13),
    width=st.integers(1, 13),
    channels=st.sampled_from((1, 8, 24)),
    images=st.integers(1, 4),
)
@settings(max_examples=80, deadline=None)
def test_depthwise_gradients_equal_those_of_torch(
    kernel: int, stride: int, height: int, width: int, channels: int, images: int
) -> None:
    generator = torch.Generator().manual_seed(kernel * 1000 + height * 13 + width)
    layer = DepthwiseConv2d(channels, kernel, stride)
    plain = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False).double()
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(images, channels, height, width, generator=generator).to(memory_format=torch.channels_last)
    own, other = x.clone().requires_grad_(), x.double().requires_grad_()
    y, expected = layer(own), plain(other)
    torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-5)
    direction = torch.randn(y.shape, generator=generator)
    y.backward(direction)
    expected.backward(direction.double())
    assert layer.weight.grad is not None
    assert own.grad is not None
    torch.testing.assert_close(layer.weight.grad.double(), plain.weight.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(own.grad.double(), other.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("chunk_bytes", [1, 5000, 1 << 30])
def test_depthwise_gradient_does_not_depend_on_its_chunks(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    torch.manual_seed(0)
    layer = DepthwiseConv2d(16, 7, 2)
    x = torch.randn(7, 16, 9, 9).to(memory_format=torch.channels_last)
    (expected,) = torch.autograd.grad(layer.eval()(x).square().sum(), layer.weight)
    monkeypatch.setattr("pipeline.supernets.depthwise._CHUNK_BYTES", chunk_bytes)
    (got,) = torch.autograd.grad(layer.train()(x).square().sum(), layer.weight)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("kind", "mid", "squeezed", "residual"),
    [
        ("conv", 0, 0, True),
        ("mbconv", 8, 0, True),
        ("mbconv", 24, 4, True),
        ("mbconv", 24, 8, False),
        ("mix", 0, 0, False),
    ],
)
def test_a_module_has_the_shape_and_parameters_of_its_block(
    activation: str, kind: str, mid: int, squeezed: int, residual: bool
) -> None:
    block = Block.parse(
        f"{kind} in=5x8 out=8 k={1 if kind == 'mix' else 3} s={1 if residual or kind == 'mix' else 2}"
        f" mid={mid} se={squeezed} act={activation} res={int(residual)}"
    )
    module = BlockModule(block)
    assert sum(p.numel() for p in module.parameters()) == block.params
    y = module(torch.randn(2, 8, 5, 5))
    assert y.shape == (2, 8, block.out_size, block.out_size)


@pytest.mark.parametrize("name", ["efficientnet-b0", "quickstart"])
def test_a_network_has_the_parameters_of_its_blocks(name: str) -> None:
    space = load_space(name).with_resolutions((32,))
    blocks = space.blocks(space.max())
    network = Network(blocks)
    assert sum(p.numel() for p in network.parameters()) == sum(block.params for block in blocks)
    assert network.resolution == 32
    assert network.eval()(torch.randn(1, 3, 32, 32)).shape == (1, network.classes)


def test_squeeze_gates_are_hard_unless_silu() -> None:
    def kinds(activation: str) -> set[str]:
        key = f"mbconv in=4x8 out=8 k=3 s=1 mid=16 se=8 act={activation} res=1"
        return {type(layer).__name__ for layer in BlockModule(Block.parse(key)).modules()}

    assert {"ReLU", "Hardsigmoid", "Hardswish"} <= kinds("hswish")
    assert {"SiLU", "Sigmoid"} <= kinds("silu")
    assert not {"Hardsigmoid", "ReLU"} & kinds("silu")


def _norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]


def test_statistics_are_the_averages_of_the_batches(tiny_space: SearchSpace) -> None:
    network = lively(tiny_space).extract(tiny_space.min())
    batches = [torch.randn(n, 3, 12, 12) * (n / 5) for n in (8, 8, 3)]
    reestimate_batchnorm(network, batches)
    stem = network[0]
    means, variances = torch.zeros(8), torch.zeros(8)
    for batch in batches:
        conv = stem.get_submodule("conv")(batch)
        means += conv.mean((0, 2, 3)) * len(batch) / 19
        variances += conv.var((0, 2, 3), unbiased=True) * len(batch) / 19
    norm = _norms(network)[0]
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)


def test_statistics_of_later_layers_see_batch_statistics_before_them(tiny_space: SearchSpace) -> None:
    network = lively(tiny_space).extract(tiny_space.max())
    batch = torch.randn(16, 3, 16, 16)
    expected = network.train()(batch)
    stale = network.eval()(batch)
    reestimate_batchnorm(network, [batch])
    # One batch alone: evaluation differs from training only by the unbiased variance.
    assert (network(batch) - expected).abs().max() < 0.3 * (stale - expected).abs().max()


def test_the_same_batches_give_the_same_bits_and_nothing_else_changes(tiny_space: SearchSpace) -> None:
    network = lively(tiny_space).extract(tiny_space.max()).train()
    network[1].eval()
    modes = [layer.training for layer in network.modules()]
    weights = [p.clone() for p in network.parameters()]
    batches = [torch.randn(4, 3, 12, 12) for _ in range(3)]
    found: list[list[Tensor]] = []
    for _ in range(2):
        reestimate_batchnorm(network, batches)
        found.append([buffer.clone() for buffer in network.buffers()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert modes == [layer.training for layer in network.modules()]
    assert {norm.momentum for norm in _norms(network)} == {0.1}
    assert all(torch.equal(one, other) for one, other in zip(weights, network.parameters(), strict=True))


def test_folding_changes_nothing_but_the_layers(tiny_space: SearchSpace) -> None:
    supernet = lively(tiny_space)
    for arch in (tiny_space.max(), tiny_space.min()):
        network = supernet.extract(arch)
        x = torch.randn(3, 3, 16, 16)
        before = network(x)
        fold_batchnorm(network)
        assert not _norms(network)
        torch.testing.assert_close(network(x), before, rtol=1e-4, atol=1e-5)


def test_statistics_of_nothing_are_refused(tiny_space: SearchSpace) -> None:
    with pytest.raises(PipelineError, match="0 images"):
        reestimate_batchnorm(Network(tiny_space.blocks(tiny_space.min())), [])


def test_augmentation_moves_and_mirrors_whole_images() -> None:
    image = torch.arange(8 * 8 * 3).reshape(1, 8, 8, 3).to(torch.uint8)
    many = image.expand(500, -1, -1, -1)
    augmentation = Augmentation(shift=0.25)
    moved = augmentation.geometry(many, augmentation.draw(500, torch.Generator().manual_seed(0)))
    padded = torch.nn.functional.pad(image.permute(0, 3, 1, 2).float(), (2, 2, 2, 2), mode="replicate")
    padded = padded.permute(0, 2, 3, 1).to(torch.uint8)
    possible = set()
    for row in range(5):
        for column in range(5):
            crop = padded[0, row : row + 8, column : column + 8]
            possible |= {bytes(crop.numpy().tobytes()), bytes(crop.flip(1).contiguous().numpy().tobytes())}
    assert {bytes(one.numpy().tobytes()) for one in moved} == possible


def test_images_kept_larger_are_shifted_into_what_is_there() -> None:
    """Of 10 x 10 kept pixels networks see 8 x 8: at random in training, the middle otherwise."""
    image = torch.arange(10 * 10 * 3).reshape(1, 10, 10, 3).to(torch.uint8)
    many = image.expand(300, -1, -1, -1)
    augmentation = Augmentation(shift=0.125, flip=False)
    moved = augmentation.geometry(many, augmentation.draw(300, torch.Generator().manual_seed(0)), 8)
    possible = {image[0, y : y + 8, x : x + 8].numpy().tobytes() for y in range(3) for x in range(3)}
    assert {one.numpy().tobytes() for one in moved} == possible
    data = TrainingData(many, torch.zeros(300, dtype=torch.int64), (0.0,) * 3, (1.0,) * 3, augmentation, 8)
    middle = (image[:, 1:9, 1:9].permute(0, 3, 1, 2) / 255).expand(300, -1, -1, -1)
    assert torch.equal(data.normalised(), middle)
    batch, _ = data.training_batch(torch.arange(300), torch.Generator().manual_seed(0))
    assert batch.shape == (300, 3, 8, 8)
    with pytest.raises(PipelineError, match="cannot see 11 pixels"):
        TrainingData(many, torch.zeros(300, dtype=torch.int64), (0.0,) * 3, (1.0,) * 3, augmentation, 11)


def test_no_augmentation_is_the_identity() -> None:
    images = torch.randint(0, 255, (5, 6, 7, 3), dtype=torch.uint8)
    plain = Augmentation(shift=0.0, flip=False)
    draws = plain.draw(5, torch.Generator().manual_seed(0))
    assert torch.equal(plain.geometry(images, draws), images)
    floats = torch.rand(5, 3, 6, 7)
    assert torch.equal(plain.colour(floats, draws), floats)


def test_brightness_and_contrast_stay_within_their_reach() -> None:
    images = torch.rand(200, 3, 4, 4) + 0.5
    bright = Augmentation(brightness=0.2)
    factors = (bright.colour(images, bright.draw(200, torch.Generator().manual_seed(0))) / images).mean((1, 2, 3))
    assert 0.8 <= factors.min() < 0.83
    assert 1.17 < factors.max() <= 1.2
    contrast = Augmentation(contrast=0.2)
    changed = contrast.colour(images, contrast.draw(200, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(changed.mean((1, 2, 3)), images.mean((1, 2, 3)))
    ratio = changed.std((1, 2, 3)) / images.std((1, 2, 3))
    assert 0.8 <= ratio.min() < 0.83
    assert 1.17 < ratio.max() <= 1.21


def _picture(size: int) -> Tensor:
    """A picture whose red and green tell the place, from 0 at the first pixel to 1 at the last; (1, s, s, 3) uint8."""
    ramp = (torch.arange(size) / (size - 1) * 255).round().to(torch.uint8)
    return torch.stack([ramp[:, None].expand(-1, size), ramp.expand(size, -1), torch.full((size, size), 7)], 2)[None]


def test_a_crop_of_everything_is_the_image_scaled() -> None:
    whole = Augmentation(crop_area=1 - 1e-6, flip=False)
    images = torch.randint(0, 256, (4, 20, 20, 3), dtype=torch.uint8)
    draws = torch.full((4, 8), 0.5)
    planes = images.permute(0, 3, 1, 2) / 255
    for size in (20, 10, 15):
        expected = resize(planes, size)
        torch.testing.assert_close(whole.resized_crops(images, draws, size), expected, rtol=1e-3, atol=1e-3)


def test_random_crops_are_parts_of_the_image_of_the_asked_area_and_sides() -> None:
    augmentation = Augmentation(crop_area=0.25)
    images = _picture(64).expand(400, -1, -1, -1)
    draws = augmentation.draw(400, torch.Generator().manual_seed(0))
    crops = augmentation.resized_crops(images, draws, 32)
    assert crops.shape == (400, 3, 32, 32) and crops.is_contiguous(memory_format=torch.channels_last)
    assert crops.min() >= 0 and crops.max() <= 1 + 1e-6
    # How far red and green go from edge to edge tells the sides of a crop, as shares of the image.
    tall = (crops[:, 0, -1, 0] - crops[:, 0, 0, 0]) * 32 / 31
    wide = (crops[:, 1, 0, -1] - crops[:, 1, 0, 0]) * 32 / 31
    mirrored = wide < 0
    assert 0.4 < mirrored.float().mean() < 0.6
    area, ratio = tall * wide.abs(), wide.abs() / tall
    assert area.min() > 0.22 and area.max() < 1.05 and area.std() > 0.15
    assert ratio.min() > 0.72 and ratio.max() < 1.38
    # A part of a batch is what it would be in the whole.
    torch.testing.assert_close(augmentation.resized_crops(images[5:9], draws[5:9], 32), crops[5:9])


def test_saturation_keeps_how_bright_a_pixel_looks() -> None:
    colourful = Augmentation(saturation=0.5)
    images = torch.rand(50, 3, 4, 4)
    changed = colourful.colour(images, colourful.draw(50, torch.Generator().manual_seed(0)))
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    torch.testing.assert_close((changed * weights).sum(1), (images * weights).sum(1))
    spread = changed.std(1).mean((1, 2)) / images.std(1).mean((1, 2))
    assert spread.min() < 0.6 and spread.max() > 1.4


def test_augmentation_reach_is_a_share() -> None:
    with pytest.raises(PipelineError, match="crop_area is 0"):
        Augmentation(crop_area=0.0)
    with pytest.raises(PipelineError, match=r"shift is 1\.5"):
        Augmentation(shift=1.5)


def test_resizing_keeps_constant_images_and_equal_sizes() -> None:
    images = torch.full((2, 3, 9, 9), 0.3)
    assert resize(images, 9) is images
    for size in (4, 20):
        torch.testing.assert_close(resize(images, size), torch.full((2, 3, size, size), 0.3))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_that_take_a_batch_each_find_what_one_finds(tiny_space: SearchSpace, threads: int) -> None:
    supernet, before = lively(tiny_space), torch.get_num_threads()
    images, labels = torch.randn(22, 3, 16, 16), torch.arange(22) % tiny_space.classes
    torch.set_num_threads(threads)
    try:
        score = evaluate_inherited(supernet, tiny_space.max(), images, images, labels, batch_size=4)
        assert torch.get_num_threads() == threads
        network = supernet.extract(tiny_space.max())
        refresh_batchnorm(network, images, batch_size=4)
    finally:
        torch.set_num_threads(before)
    alone = supernet.extract(tiny_space.max())
    reestimate_batchnorm(alone, torch.split(images, 4))
    for own, other in zip(network.buffers(), alone.buffers(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)
    assert score.cross_entropy == pytest.approx(evaluate(alone, images, labels).cross_entropy, rel=1e-4)
