"""Every operator of the MIL interpreter against torch, through coremltools' own conversion and file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from exporters.coreml.operators import OPERATORS
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


def test_every_operator_is_tried() -> None:
    tried = set().union(*(operators for operators, _ in CASES.values()))
    # Tried by exporting whole networks (test_coreml): casts, class labels, compressed weights.
    compressed = {"constexpr_affine_dequantize", "constexpr_blockwise_shift_scale", "constexpr_lut_to_dense"}
    assert OPERATORS.keys() - tried == {"cast", "classify"} | compressed
