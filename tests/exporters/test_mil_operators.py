"""Every operator of the MIL interpreter against torch, through coremltools' own conversion and file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from exporters.coreml.mil.operators import OPERATORS
from exporters.coreml.run import MilRuntime
from exporters.coreml.tool import import_coremltools
from exporters.quiet import quiet
from tests.exporters.conftest import MBConv

SHAPE = (2, 6, 9, 8)


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def batch_norm() -> nn.Module:
    norm = nn.BatchNorm2d(6)
    nn.init.normal_(norm.running_mean)  # type: ignore[arg-type]
    nn.init.uniform_(norm.weight, 0.5, 2)
    return norm


def parametric() -> nn.Module:
    module = nn.PReLU(6)
    nn.init.uniform_(module.weight)
    return module


# name -> the operators that the conversion must contain, and the module
CASES: dict[str, tuple[set[str], Callable[[], nn.Module]]] = {
    "convolution": ({"conv"}, lambda: nn.Conv2d(6, 6, 3, stride=2, padding=2, dilation=2, groups=3)),
    "same padding": ({"conv"}, lambda: nn.Conv2d(6, 8, 4, padding="same")),
    "max pool": ({"max_pool"}, lambda: nn.MaxPool2d(3, 2, 1)),
    "max pool up": ({"max_pool"}, lambda: nn.MaxPool2d(3, 2, ceil_mode=True)),
    "mean pool": ({"avg_pool"}, lambda: nn.AvgPool2d(3, 2, 1)),
    "mean pool inside": ({"avg_pool"}, lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
    "pool regions": ({"slice_by_index", "concat", "reduce_mean", "reshape"}, lambda: nn.AdaptiveAvgPool2d((2, 2))),
    "leaky": ({"leaky_relu"}, lambda: nn.LeakyReLU(0.1)),
    "parametric": ({"prelu"}, parametric),
    "elu": ({"elu"}, nn.ELU),
    "gelu": ({"gelu"}, nn.GELU),
    "gelu tanh": ({"gelu"}, lambda: nn.GELU("tanh")),
    "activations": ({"tanh", "relu"}, lambda: Function(lambda x: x.tanh() + x.relu())),
    "clip": ({"clip"}, lambda: nn.Hardtanh(-0.5, 0.7)),
    "hard": ({"sigmoid_hard", "thresholded_relu", "mul"}, nn.Hardswish),
    "smooth": (
        {"silu", "sigmoid", "softplus"},
        lambda: Function(lambda x: functional.softplus(functional.silu(x) * x.sigmoid())),
    ),
    "norm": ({"batch_norm"}, batch_norm),
    "layer norm": ({"layer_norm"}, lambda: nn.LayerNorm(8)),
    "group norm": ({"sub", "square", "sqrt", "real_div"}, lambda: nn.GroupNorm(2, 6)),
    "matmul": ({"matmul"}, lambda: Function(lambda x: x @ torch.linspace(-1, 1, 40).reshape(8, 5))),
    "linear": ({"linear"}, lambda: nn.Linear(8, 3)),
    "transpose": ({"transpose"}, lambda: Function(lambda x: x.permute(0, 2, 3, 1) * 2)),
    "split": ({"split", "concat"}, lambda: Function(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1))),
    "slice": ({"slice_by_index"}, lambda: Function(lambda x: x[:, 1:4, ::2, -3])),
    "pad": ({"pad"}, lambda: Function(lambda x: functional.pad(x, (1, 2, 0, 1), value=0.3))),
    "reflect": ({"pad"}, lambda: Function(lambda x: functional.pad(x, (1, 1, 2, 1), mode="reflect"))),
    "reductions": ({"reduce_max", "reduce_sum"}, lambda: Function(lambda x: x.amax((2, 3)) + x.sum((2, 3)))),
    "squeeze": ({"squeeze"}, lambda: Function(lambda x: x.mean((2, 3), keepdim=True).squeeze(-1).squeeze(-1))),
    "expand": ({"expand_dims"}, lambda: Function(lambda x: x.mean((2, 3)).unsqueeze(-1).unsqueeze(1))),
    "extremes": ({"maximum", "minimum"}, lambda: Function(lambda x: torch.maximum(x, -x) - torch.minimum(x, 2 * x))),
    "power": ({"abs", "pow", "exp"}, lambda: Function(lambda x: x.abs().pow(1.5) + x.exp())),
    "rsqrt": ({"rsqrt"}, lambda: Function(lambda x: torch.rsqrt(x * x + 1))),
    "upsample": ({"upsample_nearest_neighbor"}, lambda: nn.Upsample(scale_factor=2)),
    "softmax": ({"softmax"}, lambda: nn.Softmax(1)),
    "flatten": ({"reshape"}, nn.Flatten),
    "pick": ({"gather"}, lambda: Function(lambda x: x[:, torch.tensor([4, 0, 3])])),
    "MBConv": ({"conv", "add", "mul", "reduce_mean"}, lambda: MBConv(6, 6, 5, 1, 12, 4, nn.SiLU)),
}


def saved_program(module: nn.Module, x: torch.Tensor, path: Path) -> set[str]:
    """Write `module` as a package to `path`; the operators of its program."""
    ct = import_coremltools()
    with quiet(), torch.no_grad():
        model = ct.convert(
            torch.jit.trace(module, x),  # type: ignore[no-untyped-call]
            inputs=[ct.TensorType("image", shape=x.shape, dtype=np.float32)],
            outputs=[ct.TensorType("logits", dtype=np.float32)],
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=ct.precision.FLOAT32,
        )
        model.save(str(path))
    return {operation.op_type for operation in model._mil_program.functions["main"].operations}


@pytest.mark.parametrize("name", list(CASES))
def test_computes_what_torch_computes(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    operators, make = CASES[name]
    module, x = make().eval(), torch.randn(SHAPE)
    found = saved_program(module, x, tmp_path / "x.mlpackage")
    assert operators <= found
    with torch.no_grad():
        expected = module(x).numpy()
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(MilRuntime(tmp_path / "x.mlpackage").run(x.numpy()), expected, atol=2e-5)


def image_grid(x: torch.Tensor, rows: np.ndarray, columns: np.ndarray) -> torch.Tensor:
    """`x` between its pixels, written with numpy's own interpolation."""
    values = x.numpy()
    height, width = values.shape[2:]
    along = np.apply_along_axis(lambda line: np.interp(rows, np.arange(height), line), 2, values)
    return torch.from_numpy(np.apply_along_axis(lambda line: np.interp(columns, np.arange(width), line), 3, along))


INDICES = np.array([[0, 2], [5, 1]], np.int32)
DECONVOLUTION = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(0))
# operator -> how coremltools' builder calls it on x (2, 6, 9, 8), and what torch says it is
BUILT: dict[str, tuple[Callable[[Any, Any], Any], Callable[[torch.Tensor], torch.Tensor]]] = {
    "acos": (lambda mb, x: mb.acos(x=mb.tanh(x=x)), lambda x: x.tanh().acos()),
    "asin": (lambda mb, x: mb.asin(x=mb.tanh(x=x)), lambda x: x.tanh().asin()),
    "atan": (lambda mb, x: mb.atan(x=x), torch.atan),
    "ceil": (lambda mb, x: mb.ceil(x=x), torch.ceil),
    "clamped_relu": (
        lambda mb, x: mb.clamped_relu(x=x, alpha=0.1, beta=0.5),
        lambda x: functional.leaky_relu(x, 0.1).clamp(max=0.5),
    ),
    "conv_transpose": (
        lambda mb, x: mb.conv_transpose(
            x=x, weight=DECONVOLUTION.numpy(), strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1], groups=3
        ),
        lambda x: functional.conv_transpose2d(x, DECONVOLUTION, None, 2, 1, groups=3),
    ),
    "cos": (lambda mb, x: mb.cos(x=x), torch.cos),
    "cumsum": (
        lambda mb, x: mb.cumsum(x=x, axis=2, exclusive=True, reverse=True),
        lambda x: x.flip(2).cumsum(2).flip(2) - x,
    ),
    "depth_to_space": (
        lambda mb, x: mb.depth_to_space(
            x=mb.slice_by_size(x=x, begin=[0, 0, 0, 0], size=[-1, 4, -1, -1]), block_size=2
        ),
        lambda x: functional.pixel_shuffle(x[:, :4], 2),  # of one channel, where the orders agree
    ),
    "einsum": (
        lambda mb, x: mb.einsum(values=(x, mb.transpose(x=x, perm=[0, 3, 2, 1])), equation="nchw,nwhu->nchu"),
        lambda x: torch.einsum("nchw,nwhu->nchu", x, x.permute(0, 3, 2, 1)),
    ),
    "equal": (lambda mb, x: mb.cast(x=mb.equal(x=mb.sign(x=x), y=1.0), dtype="fp32"), lambda x: (x > 0).float()),
    "erf": (lambda mb, x: mb.erf(x=x), torch.erf),
    "exp2": (lambda mb, x: mb.exp2(x=x), torch.exp2),
    "fill_like": (lambda mb, x: mb.mul(x=mb.fill_like(ref_tensor=x, value=3.0), y=x), lambda x: 3 * x),
    "flatten2d": (lambda mb, x: mb.flatten2d(x=x, axis=2), lambda x: x.reshape(12, 72)),
    "floor": (lambda mb, x: mb.floor(x=x), torch.floor),
    "floor_div": (lambda mb, x: mb.floor_div(x=x, y=0.3), lambda x: torch.floor_divide(x, 0.3)),
    "gather_along_axis": (
        lambda mb, x: mb.gather_along_axis(x=x, indices=np.full((2, 6, 9, 3), 4, np.int32), axis=3),
        lambda x: x[..., 4:5].expand(-1, -1, -1, 3),
    ),
    "gather_nd": (
        lambda mb, x: mb.gather_nd(x=mb.transpose(x=x, perm=[1, 2, 3, 0]), indices=INDICES),
        lambda x: x.permute(1, 2, 3, 0)[[0, 5], [2, 1]],
    ),
    "greater": (lambda mb, x: mb.cast(x=mb.greater(x=x, y=0.1), dtype="fp32"), lambda x: (x > 0.1).float()),
    "greater_equal": (
        lambda mb, x: mb.cast(x=mb.greater_equal(x=x, y=0.1), dtype="fp32"),
        lambda x: (x >= 0.1).float(),
    ),
    "identity": (lambda mb, x: mb.identity(x=x), lambda x: x),
    "instance_norm": (
        lambda mb, x: mb.instance_norm(x=x, gamma=np.arange(1, 7, dtype=np.float32), beta=np.ones(6, np.float32)),
        lambda x: functional.instance_norm(x, weight=torch.arange(1.0, 7.0), bias=torch.ones(6)),
    ),
    "inverse": (lambda mb, x: mb.inverse(x=mb.exp(x=x), epsilon=0.0), lambda x: (-x).exp()),
    "l2_norm": (lambda mb, x: mb.l2_norm(x=x), lambda x: functional.normalize(x.flatten(1), dim=1).reshape(x.shape)),
    "l2_pool": (
        lambda mb, x: mb.l2_pool(x=x, kernel_sizes=[2, 2], strides=[2, 2], pad_type="valid"),
        lambda x: functional.lp_pool2d(x, 2.0, 2),
    ),
    "less": (lambda mb, x: mb.cast(x=mb.less(x=x, y=0.1), dtype="fp32"), lambda x: (x < 0.1).float()),
    "less_equal": (lambda mb, x: mb.cast(x=mb.less_equal(x=x, y=0.1), dtype="fp32"), lambda x: (x <= 0.1).float()),
    "linear_activation": (lambda mb, x: mb.linear_activation(x=x, alpha=2.0, beta=1.0), lambda x: 2 * x + 1),
    "local_response_norm": (
        lambda mb, x: mb.local_response_norm(x=x, size=3, alpha=0.1, beta=0.5, k=2.0),
        lambda x: functional.local_response_norm(x, 3, 0.1, 0.5, 2.0),
    ),
    "log": (lambda mb, x: mb.log(x=mb.exp(x=x)), lambda x: x),
    "logical_and": (
        lambda mb, x: mb.cast(x=mb.logical_and(x=mb.less(x=x, y=1.0), y=mb.greater(x=x, y=0.0)), dtype="fp32"),
        lambda x: ((x < 1) & (x > 0)).float(),
    ),
    "logical_not": (
        lambda mb, x: mb.cast(x=mb.logical_not(x=mb.less(x=x, y=0.0)), dtype="fp32"),
        lambda x: (x >= 0).float(),
    ),
    "logical_or": (
        lambda mb, x: mb.cast(x=mb.logical_or(x=mb.less(x=x, y=-1.0), y=mb.greater(x=x, y=0.0)), dtype="fp32"),
        lambda x: ((x < -1) | (x > 0)).float(),
    ),
    "logical_xor": (
        lambda mb, x: mb.cast(x=mb.logical_xor(x=mb.less(x=x, y=1.0), y=mb.greater(x=x, y=0.0)), dtype="fp32"),
        lambda x: ((x < 1) ^ (x > 0)).float(),
    ),
    "mod": (lambda mb, x: mb.mod(x=x, y=0.7), lambda x: torch.remainder(x, 0.7)),
    "not_equal": (
        lambda mb, x: mb.cast(x=mb.not_equal(x=mb.sign(x=x), y=1.0), dtype="fp32"),
        lambda x: (x <= 0).float(),
    ),
    "pixel_shuffle": (
        lambda mb, x: mb.pixel_shuffle(x=mb.concat(values=(x, x), axis=1), upscale_factor=2),
        lambda x: functional.pixel_shuffle(torch.cat([x, x], 1), 2),
    ),
    "pixel_unshuffle": (
        lambda mb, x: mb.pixel_unshuffle(x=mb.pad(x=x, pad=[0, 1, 0, 0]), downscale_factor=np.uint32(2)),
        lambda x: functional.pixel_unshuffle(functional.pad(x, (0, 0, 0, 1)), 2),
    ),
    "range_1d": (
        lambda mb, x: mb.mul(
            x=x, y=mb.range_1d(start=0.0, end=mb.reduce_sum(x=mb.fill_like(ref_tensor=x, value=1 / 108)), step=1.0)
        ),
        lambda x: x * torch.arange(8.0),
    ),
    "reduce_argmax": (
        lambda mb, x: mb.cast(x=mb.reduce_argmax(x=x, axis=1), dtype="fp32"),
        lambda x: x.argmax(1).float(),
    ),
    "reduce_argmin": (
        lambda mb, x: mb.cast(x=mb.reduce_argmin(x=x, axis=1, keep_dims=True), dtype="fp32"),
        lambda x: x.argmin(1, keepdim=True).float(),
    ),
    "reduce_l1_norm": (lambda mb, x: mb.reduce_l1_norm(x=x, axes=[2, 3]), lambda x: x.abs().sum((2, 3))),
    "reduce_l2_norm": (lambda mb, x: mb.reduce_l2_norm(x=x, axes=[1]), lambda x: x.norm(dim=1)),
    "reduce_log_sum_exp": (lambda mb, x: mb.reduce_log_sum_exp(x=x, axes=[1]), lambda x: x.logsumexp(1)),
    "reduce_min": (
        lambda mb, x: mb.reduce_min(x=x, axes=[2, 3], keep_dims=True),
        lambda x: x.amin((2, 3), keepdim=True),
    ),
    "reduce_prod": (
        lambda mb, x: mb.reduce_prod(x=mb.exp(x=x), axes=[1, 2]),
        lambda x: x.exp().prod(2).prod(1),
    ),
    "reduce_sum_square": (lambda mb, x: mb.reduce_sum_square(x=x, axes=[3]), lambda x: x.square().sum(3)),
    "relu6": (lambda mb, x: mb.relu6(x=mb.mul(x=x, y=5.0)), lambda x: functional.relu6(5 * x)),
    "resize_bilinear": (
        lambda mb, x: mb.resize_bilinear(x=x, target_size_height=13, target_size_width=5, sampling_mode="DEFAULT"),
        lambda x: image_grid(x, np.arange(13) * (9 - 9 / 13) / 12, np.arange(5) * (8 - 8 / 5) / 4),
    ),
    "resize_bilinear corners": (
        lambda mb, x: mb.resize_bilinear(
            x=x, target_size_height=13, target_size_width=5, sampling_mode="STRICT_ALIGN_CORNERS"
        ),
        lambda x: functional.interpolate(x, size=(13, 5), mode="bilinear", align_corners=True),
    ),
    "resize_bilinear centres": (
        lambda mb, x: mb.resize_bilinear(
            x=x, target_size_height=13, target_size_width=5, sampling_mode="UNALIGN_CORNERS"
        ),
        lambda x: functional.interpolate(x, size=(13, 5), mode="bilinear"),
    ),
    "resize_nearest_neighbor": (
        lambda mb, x: mb.resize_nearest_neighbor(x=x, target_size_height=18, target_size_width=4),
        lambda x: functional.interpolate(x, size=(18, 4), mode="nearest"),
    ),
    "reverse": (lambda mb, x: mb.reverse(x=x, axes=[1, 3]), lambda x: x.flip(1, 3)),
    "round": (lambda mb, x: mb.round(x=x), torch.round),
    "scaled_dot_product_attention": (
        lambda mb, x: mb.scaled_dot_product_attention(query=x, key=x, value=mb.exp(x=x)),
        lambda x: (x @ x.transpose(2, 3) / 8**0.5).softmax(-1) @ x.exp(),
    ),
    "scaled_tanh": (lambda mb, x: mb.scaled_tanh(x=x, alpha=2.0, beta=0.5), lambda x: 2 * torch.tanh(0.5 * x)),
    "select": (
        lambda mb, x: mb.select(cond=mb.less(x=x, y=0.0), a=mb.square(x=x), b=x),
        lambda x: torch.where(x < 0, x**2, x),
    ),
    "shape": (
        lambda mb, x: mb.cast(x=mb.shape(x=mb.tile(x=x, reps=[1, 1, 2, 1])), dtype="fp32"),
        lambda _: torch.tensor([2.0, 6, 18, 8]),
    ),
    "sign": (lambda mb, x: mb.sign(x=x), torch.sign),
    "sin": (lambda mb, x: mb.sin(x=x), torch.sin),
    "slice_by_size": (
        lambda mb, x: mb.slice_by_size(x=x, begin=[0, 1, 2, 0], size=[-1, 3, 4, -1]),
        lambda x: x[:, 1:4, 2:6],
    ),
    "softsign": (lambda mb, x: mb.softsign(x=x), functional.softsign),
    "space_to_depth": (
        lambda mb, x: mb.space_to_depth(x=mb.slice_by_size(x=x, begin=[0, 0, 0, 0], size=[-1, 1, 8, -1]), block_size=2),
        lambda x: functional.pixel_unshuffle(x[:, :1, :8], 2),  # of one channel, where the orders agree
    ),
    "stack": (lambda mb, x: mb.stack(values=(x, mb.exp(x=x)), axis=1), lambda x: torch.stack([x, x.exp()], 1)),
    "interleaved concat": (
        lambda mb, x: mb.concat(values=(x, mb.exp(x=x)), axis=1, interleave=True),
        lambda x: torch.stack([x, x.exp()], 2).flatten(1, 2),
    ),
    "threshold": (lambda mb, x: mb.threshold(x=x, alpha=0.2), lambda x: x.clamp(min=0.2)),
    "tile": (lambda mb, x: mb.tile(x=x, reps=[1, 2, 1, 3]), lambda x: x.repeat(1, 2, 1, 3)),
    "topk": (lambda mb, x: mb.topk(x=x, k=2, axis=1)[0], lambda x: x.topk(2, 1).values),
    "upsample_bilinear": (
        lambda mb, x: mb.upsample_bilinear(x=x, scale_factor_height=2.0, scale_factor_width=3.0, align_corners=False),
        lambda x: functional.interpolate(x, scale_factor=(2, 3), mode="bilinear"),
    ),
    "upsample_bilinear corners": (
        lambda mb, x: mb.upsample_bilinear(x=x, scale_factor_height=2.0, scale_factor_width=3.0, align_corners=True),
        lambda x: functional.interpolate(x, scale_factor=(2, 3), mode="bilinear", align_corners=True),
    ),
    "replicate pad": (
        lambda mb, x: mb.pad(x=x, pad=[1, 2, 0, 1], mode="replicate"),
        lambda x: functional.pad(x, (0, 1, 1, 2), mode="replicate"),
    ),
    "pad of all axes": (
        lambda mb, x: mb.pad(x=x, pad=[0, 0, 1, 2, 0, 0, 1, 0], constant_val=0.5),
        lambda x: functional.pad(x, (1, 0, 0, 0, 1, 2), value=0.5),
    ),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], dict[str, np.ndarray], torch.Tensor]:
    """All of BUILT in one package, as one program: its operators, every tensor that it computes, and its input."""
    ct = import_coremltools()
    from coremltools.converters.mil.mil import Builder, types

    @Builder.program(input_specs=[Builder.TensorSpec(shape=SHAPE, dtype=types.fp32)], opset_version=ct.target.iOS18)  # type: ignore[untyped-decorator]
    def program(image: Any) -> Any:
        return tuple(
            Builder.mul(x=build(Builder, image), y=1.0, name=_output(name)) for name, (build, _) in BUILT.items()
        )

    path = tmp_path_factory.mktemp("built") / "x.mlpackage"
    with quiet():
        model = ct.convert(
            program,
            convert_to="mlprogram",
            compute_precision=ct.precision.FLOAT32,
            minimum_deployment_target=ct.target.iOS18,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        )
        model.save(str(path))
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    kinds = {operation.op_type for operation in model._mil_program.functions["main"].operations}
    return kinds, dict(MilRuntime(path).tensors(x.numpy()) or []), x


def _output(name: str) -> str:
    return "output_" + name.replace(" ", "_")


@pytest.mark.parametrize("name", list(BUILT))
def test_computes_what_torch_says_it_means(built: Any, name: str) -> None:
    _, tensors, x = built
    expected = BUILT[name][1](x).numpy()
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(tensors[_output(name)], expected, atol=2e-5, rtol=1e-5)


def test_every_operator_is_tried(built: Any) -> None:
    tried = built[0].union(*(operators for operators, _ in CASES.values()))
    # Tried by exporting whole networks (test_coreml): class labels, compressed weights.
    compressed = {"constexpr_affine_dequantize", "constexpr_blockwise_shift_scale", "constexpr_lut_to_dense"}
    assert OPERATORS.keys() - tried == {"cast", "classify", "fill"} - tried | compressed
