"""The operators of blocks as ONNX nodes, in 32-bit floating point, in 16-bit, and quantised to 8 bits.

The graph has the operators, in the order, that the export of a trained network has (BatchNorm folded into the
convolutions), so a runtime fuses and schedules it the same way. The weights are random but reproducible.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from latency_tables.blocks import Activation, Block
from latency_tables.random_weights import BIAS_SCALE, RandomWeights, weight_scale

if TYPE_CHECKING:
    import onnx

_RANGE: Final = (-8.0, 8.0)  # of a quantised tensor; latency does not depend on it


@dataclass
class Graph:
    """The nodes and weights written so far, in 32-bit floating point."""

    drawn: RandomWeights
    nodes: list["onnx.NodeProto"] = field(default_factory=list)
    weights: list["onnx.TensorProto"] = field(default_factory=list)
    # A name of onnx.TensorProto's types, and the numpy type that it holds.
    element: ClassVar[tuple[str, str]] = ("FLOAT", "<f4")

    def begin(self, name: str) -> str:
        """The tensor that the first block reads, of the 32-bit input `name`."""
        return name

    def end(self, tensor: str, name: str) -> None:
        """Call the last tensor `name`; it is 32-bit again."""
        self.nodes[-1].output[0] = name

    def add_block(self, block: Block, tensor: str) -> str:
        """Append the operators of `block` that read `tensor`; the name of what they give."""
        match block.kind:
            case "conv":
                tensor = self._conv(
                    tensor, block.in_channels, block.out_channels, block.kernel, block.stride, pads=block.pads
                )
                return self._activation(tensor, block.activation)
            case "mbconv":
                return self._mbconv(block, tensor)
            case "pool":
                return self._node("GlobalAveragePool", [tensor])
            case "mix":
                tensor = self._conv(tensor, block.in_channels, block.out_channels, bias=False)
                return self._activation(tensor, block.activation)
            case "linear":
                flat = self._node("Flatten", [tensor], axis=1)
                weight = self._weight([block.out_channels, block.in_channels], block.in_channels)
                bias = self._bias(block.out_channels, flat, weight)
                tensor = self._node("Gemm", [flat, weight, bias], transB=1)
                return self._activation(tensor, block.activation)

    def _mbconv(self, block: Block, tensor: str) -> str:
        inside, mid = tensor, block.mid_channels
        if block.expands:
            inside = self._activation(self._conv(inside, block.in_channels, mid), block.activation)
        inside = self._conv(inside, mid, mid, block.kernel, block.stride, groups=mid, pads=block.pads)
        inside = self._activation(inside, block.activation)
        if block.se_channels:
            inside = self._squeeze(block, inside)
        inside = self._conv(inside, mid, block.out_channels)
        return self._node("Add", [inside, tensor]) if block.residual else inside

    def _squeeze(self, block: Block, tensor: str) -> str:
        """Squeeze-and-excitation: each channel multiplied by a gate computed from all channels' means."""
        smooth = block.activation == "silu"
        gate = self._node("GlobalAveragePool", [tensor])
        gate = self._conv(gate, block.mid_channels, block.se_channels)
        gate = self._activation(gate, "silu" if smooth else "relu")
        gate = self._conv(gate, block.se_channels, block.mid_channels)
        gate = self._node("Sigmoid", [gate]) if smooth else self._node("HardSigmoid", [gate], alpha=1 / 6, beta=0.5)
        return self._node("Mul", [tensor, gate])

    def _conv(
        self,
        tensor: str,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
        pads: tuple[int, int] = (0, 0),
    ) -> str:
        names = [tensor, self._weight([outputs, inputs // groups, kernel, kernel], inputs // groups * kernel**2)]
        if bias:
            names.append(self._bias(outputs, *names))
        return self._node(
            "Conv",
            names,
            dilations=[1, 1],
            group=groups,
            kernel_shape=[kernel, kernel],
            pads=[pads[0], pads[0], pads[1], pads[1]],
            strides=[stride, stride],
        )

    def _activation(self, tensor: str, activation: Activation) -> str:
        match activation:
            case "none":
                return tensor
            case "relu":
                return self._node("Relu", [tensor])
            case "relu6":
                return self._node("Clip", [tensor, self._tensor([], 1.0, [0.0]), self._tensor([], 1.0, [6.0])])
            case "hswish":
                return self._node("HardSwish", [tensor])
            case "silu":
                return self._node("Mul", [tensor, self._node("Sigmoid", [tensor])])

    def _node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        return self._append(operator, inputs, f"t{len(self.nodes)}", **attributes)

    def _append(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _weight(self, shape: list[int], fan_in: int) -> str:
        return self._tensor(shape, weight_scale(fan_in))

    def _bias(self, channels: int, tensor: str, weight: str) -> str:
        return self._tensor([channels], BIAS_SCALE)

    def _tensor(self, shape: list[int], scale: float, values: list[float] | None = None) -> str:
        data = self.drawn.draw(math.prod(shape), scale) if values is None else values
        return self._constant(f"w{len(self.weights)}", shape, data, self.element)

    def _constant(self, name: str, shape: list[int], data: Any, element: tuple[str, str]) -> str:
        import numpy as np
        from onnx import TensorProto, helper

        raw = np.asarray(data, dtype=element[1]).tobytes()
        self.weights.append(helper.make_tensor(name, getattr(TensorProto, element[0]), shape, raw, raw=True))
        return name


@dataclass
class HalfGraph(Graph):
    """The same in 16-bit floating point, between two casts."""

    element: ClassVar[tuple[str, str]] = ("FLOAT16", "<f2")

    def begin(self, name: str) -> str:
        """The input cast to 16 bits."""
        return self._cast(name, "FLOAT16")

    def end(self, tensor: str, name: str) -> None:
        """Cast the last tensor to 32 bits."""
        self._cast(tensor, "FLOAT")
        super().end(tensor, name)

    def _cast(self, tensor: str, kind: str) -> str:
        from onnx import TensorProto

        return self._node("Cast", [tensor], to=getattr(TensorProto, kind))


@dataclass
class QuantisedGraph(Graph):
    """The same as ONNX Runtime's static quantiser writes it (QDQ): every tensor between two operators is quantised to
    8 unsigned bits and back, weights are 8-bit by output channel, biases 32-bit; the range of a tensor contains its
    ReLU, and a hard swish is its two operators."""

    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)

    def begin(self, name: str) -> str:
        """The input, quantised and back."""
        return self._quantised(name)

    def end(self, tensor: str, name: str) -> None:
        """Write the ranges, which the operator behind a tensor may have changed."""
        for quantised, (low, high) in self.ranges.items():
            scale = (high - low) / 255
            self._constant(f"{quantised}_scale", [], [scale], ("FLOAT", "<f4"))
            self._constant(f"{quantised}_zero_point", [], [round(-low / scale)], ("UINT8", "u1"))
        super().end(tensor, name)

    def _node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = super()._node(operator, inputs, **attributes)
        shared = inputs[0] if operator == "Flatten" else None
        return self._quantised(output, (0.0, 1.0) if operator.endswith("Sigmoid") else _RANGE, shared)

    def _activation(self, tensor: str, activation: Activation) -> str:
        match activation:
            case "relu" | "relu6":
                self.ranges[tensor] = (0.0, 6.0 if activation == "relu6" else _RANGE[1])
                return tensor
            case "hswish":
                return self._node("Mul", [tensor, self._node("HardSigmoid", [tensor], alpha=1 / 6, beta=0.5)])
        return super()._activation(tensor, activation)

    def _quantised(self, tensor: str, values: tuple[float, float] = _RANGE, shared: str | None = None) -> str:
        """`tensor` quantised and back, in the range `values`, or in that of the tensor `shared`."""
        back = f"{tensor}_back"
        if shared is None:
            self.ranges[back] = values
        else:
            self.shared[back] = shared
        constants = [f"{shared or back}_scale", f"{shared or back}_zero_point"]
        self._append("QuantizeLinear", [tensor, *constants], f"{tensor}_8bit")
        self._append("DequantizeLinear", [f"{tensor}_8bit", *constants], back)
        return back

    def _weight(self, shape: list[int], fan_in: int) -> str:
        data, scale = self.drawn.draw_integers(math.prod(shape), weight_scale(fan_in))
        return self._dequantised(shape, data, ("INT8", "i1"), scale)

    def _bias(self, channels: int, tensor: str, weight: str) -> str:
        import numpy as np

        # Runtimes compute in integers only where a bias has the scale of the products that it is added to.
        low, high = self.ranges[self.shared.get(tensor, tensor)]
        scale = (high - low) / 255 * self.scales[weight]
        return self._dequantised(
            [channels], np.rint(self.drawn.draw(channels, BIAS_SCALE / scale)), ("INT32", "<i4"), scale
        )

    def _dequantised(self, shape: list[int], data: Any, element: tuple[str, str], scale: float) -> str:
        """The integers `data` by output channel, and the node that makes floating point of them."""
        name = self._constant(f"w{len(self.weights)}", shape, data, element)
        self._constant(f"{name}_scale", shape[:1], [scale] * shape[0], ("FLOAT", "<f4"))
        self._constant(f"{name}_zero_point", shape[:1], [0] * shape[0], element)
        self.scales[f"{name}_back"] = scale
        self._append("DequantizeLinear", [name, f"{name}_scale", f"{name}_zero_point"], f"{name}_back", axis=0)
        return f"{name}_back"
