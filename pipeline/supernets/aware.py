"""A network trained with quantisation simulated: torchao rounds what an int8 file will round.

What is simulated is the recipe of the int8 exports: weights in 8 bits per output channel, symmetric; what flows
between operators in 8 unsigned bits per tensor. Needs torchao, which is imported when a network is wrapped.
"""

import warnings
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.supernets.compute import device_of
from pipeline.supernets.network import Network

if TYPE_CHECKING:
    from torchao.quantization.pt2e.quantizer import Quantizer

_FOLLOW: Final = 0.01  # of the way to the newest batch's range that an activation's range goes in a step
# Whose results an int8 file keeps in 8 bits; of a BatchNorm that an activation follows, only the activation's.
_KEPT: Final = frozenset(
    {"adaptive_avg_pool2d", "add", "add_", "mul", "hardsigmoid", "sigmoid", "linear", "conv2d", "batch_norm"}
)
_ACTIVATIONS: Final = frozenset({"relu", "relu_", "hardtanh", "hardtanh_", "hardswish", "silu"})
_WEIGHTED: Final = frozenset({"conv2d", "linear"})


class QuantisationAware(nn.Module):
    """`network` with quantisation simulated in both modes; (n, 3, s, s) float32 -> logits (n, classes).

    `images` (n, 3, s, s) with n of 2 or more set the ranges that training then follows. Parameters and statistics
    are copies under the same names, behind "graph."; `write_back` gives them to a network. Raises PipelineError
    where torchao is not installed.
    """

    def __init__(self, network: Network, images: Tensor) -> None:
        super().__init__()
        try:
            from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e
        except ImportError:
            raise PipelineError(MISSING) from None
        self.resolution = network.resolution
        images = images.to(device_of(network), memory_format=torch.channels_last)
        training = network.training
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            batch = torch.export.Dim("batch", min=2)
            program = torch.export.export(network.train(), (images[:2],), dynamic_shapes=({0: batch},))
            self.graph: nn.Module = prepare_qat_pt2e(program.module(), _recipe())
        network.train(training)
        self.eval()
        self._set_ranges(images)

    @torch.no_grad()
    def _set_ranges(self, images: Tensor) -> None:
        """Those of the network before anything is rounded, as an export finds them."""
        from torchao.quantization.pt2e import FakeQuantizeBase, disable_fake_quant, enable_fake_quant

        self.graph.apply(disable_fake_quant)
        self(images)
        self.graph.apply(enable_fake_quant)
        for module in self.graph.modules():
            if isinstance(module, FakeQuantizeBase):
                for own, found in zip((module.scale, module.zero_point), module.calculate_qparams(), strict=True):
                    own.resize_(found.shape).copy_(found)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes)."""
        logits: Tensor = self.graph(x)
        return logits

    def train(self, mode: bool = True) -> "QuantisationAware":
        """As of any module; an exported graph takes it by other functions."""
        from torchao.quantization.pt2e import move_exported_model_to_eval, move_exported_model_to_train

        self.training = mode
        (move_exported_model_to_train if mode else move_exported_model_to_eval)(self.graph)
        return self

    @torch.no_grad()
    def write_back(self, network: Network) -> None:
        """Give the weights and BatchNorm's statistics to the network that this was made of."""
        tensors = self.graph.state_dict()
        for name, own in network.state_dict().items():
            if not name.endswith("num_batches_tracked"):  # which nothing reads
                own.copy_(tensors[name])


MISSING: Final = "quantisation-aware training needs torchao; run: pip install 'pocketnas[qat]'"


def is_available() -> bool:
    """Whether torchao is installed."""
    from importlib.util import find_spec

    return find_spec("torchao") is not None


def _recipe() -> "Quantizer":
    """What is rounded, and how, as torchao wants to be told."""
    from torchao.quantization.pt2e import (
        FakeQuantize,
        FusedMovingAvgObsFakeQuantize,
        MovingAverageMinMaxObserver,
        MovingAveragePerChannelMinMaxObserver,
    )
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, QuantizationSpec, Quantizer
    from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

    flowing = QuantizationSpec(
        torch.uint8,
        FusedMovingAvgObsFakeQuantize.with_args(observer=MovingAverageMinMaxObserver, averaging_constant=_FOLLOW),
        0,
        255,
        torch.per_tensor_affine,
    )
    weights = QuantizationSpec(
        torch.int8,
        # Not the fused one, which divides by 127.5 where files divide by 127.
        FakeQuantize.with_args(observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0),
        -127,
        127,
        torch.per_channel_symmetric,
        ch_axis=0,
    )

    class Recipe(Quantizer):  # type: ignore[misc]
        def annotate(self, model: torch.fx.GraphModule) -> torch.fx.GraphModule:
            for node in model.graph.nodes:
                weighted = _operator(node) in _WEIGHTED
                inputs = {node.args[0]: flowing, node.args[1]: weights} if weighted else {}
                output = flowing if _is_kept(node) else None
                node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(inputs, output, _annotated=True)
            return model

        def validate(self, model: torch.fx.GraphModule) -> None:
            pass

    return Recipe()


def _is_kept(node: "torch.fx.Node") -> bool:
    if node.op == "placeholder":
        return True
    operator, after = _operator(node), {_operator(user) for user in node.users}
    if operator in _ACTIVATIONS:
        return True
    # Rounding before an operator that is computed together with this one would round twice.
    together = after <= {"batch_norm"} or (after <= _ACTIVATIONS and after != {"hardswish"} and after != {"silu"})
    return operator in _KEPT and not (after and together)


def _operator(node: "torch.fx.Node") -> str:
    """The name of an ATen operator, such as `conv2d`; empty for other nodes."""
    target: Any = node.target
    return str(target.overloadpacket.__name__) if hasattr(target, "overloadpacket") else ""
