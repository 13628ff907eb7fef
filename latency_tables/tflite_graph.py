"""The operators of blocks as LiteRT runs them, in 32-bit floating point and quantised to 8 bits.

The graph has the operators that the export of a trained network has: the picture comes as planes and is turned, ReLU
and ReLU6 are part of the operator before them, padding that is not TensorFlow's is an operator of its own.
Weights are those of the same blocks in ONNX.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from latency_tables.blocks import Activation, Block, same_pads
from latency_tables.random_weights import BIAS_SCALE, RandomWeights, weight_scale
from latency_tables.tflite_file import Code, Element, Operator, Options, Quantisation, Tensor, TfliteFile

_PICTURE_CHANNELS: Final = 3
_PLAIN, _RELU, _RELU6 = 0, 1, 3  # activations that are part of an operator
_FUSED: Final[dict[Activation, int]] = {"relu": _RELU, "relu6": _RELU6}
_SAME, _VALID = 0, 1
_RANGE: Final = (-8.0, 8.0)  # of a quantised tensor; latency does not depend on it
# Integers need later versions of most operators.
_INT8_VERSIONS: Final = {
    Code.ADD: 2,
    Code.CONV_2D: 3,
    Code.DEPTHWISE_CONV_2D: 3,
    Code.DEQUANTIZE: 2,
    Code.FULLY_CONNECTED: 4,
    Code.LOGISTIC: 2,
    Code.MEAN: 2,
    Code.MUL: 2,
    Code.PAD: 2,
    Code.TRANSPOSE: 2,
}


@dataclass
class TfliteGraph:
    """The tensors and operators written so far, in 32-bit floating point, and the blocks' weights."""

    drawn: RandomWeights
    file: TfliteFile = field(default_factory=TfliteFile)

    def begin(self, first: Block) -> int:
        """The tensor that the first block reads: 1 x size x size x channels, or a picture's planes turned."""
        size, channels = first.in_size, first.in_channels
        if channels != _PICTURE_CHANNELS:
            return self._input((1, size, size, channels))
        planes = self._input((1, channels, size, size))
        return self._operator(
            Code.TRANSPOSE, (planes, self._ints([0, 2, 3, 1])), (1, size, size, channels), like=planes
        )

    def end(self, tensor: int) -> None:
        """Give the last tensor, in 32-bit floating point."""

    def add_block(self, block: Block, tensor: int) -> int:
        """Append the operators of `block` that read `tensor`; the index of what they give."""
        match block.kind:
            case "conv":
                return self._conv(block, tensor, block.in_channels, block.out_channels, block.activation)
            case "mbconv":
                return self._mbconv(block, tensor)
            case "pool":
                return self._mean(tensor)
            case "mix":
                return self._pointwise(tensor, block.in_channels, block.out_channels, block.activation, bias=False)
            case "linear":
                return self._linear(block, tensor)

    def _mbconv(self, block: Block, tensor: int) -> int:
        inside, mid = tensor, block.mid_channels
        if block.expands:
            inside = self._pointwise(inside, block.in_channels, mid, block.activation)
        inside = self._conv(block, inside, mid, mid, block.activation, depthwise=True)
        if block.se_channels:
            inside = self._squeeze(block, inside)
        inside = self._pointwise(inside, mid, block.out_channels)
        if not block.residual:
            return inside
        return self._operator(Code.ADD, (tensor, inside), self._shape(inside), Options(11, ((1, _PLAIN),)))

    def _squeeze(self, block: Block, tensor: int) -> int:
        """Squeeze-and-excitation: each channel multiplied by a gate computed from all channels' means."""
        smooth = block.activation == "silu"
        gate = self._mean(tensor)
        gate = self._pointwise(gate, block.mid_channels, block.se_channels, "silu" if smooth else "relu")
        if smooth:
            gate = self._sigmoid(self._pointwise(gate, block.se_channels, block.mid_channels))
        else:  # a hard sigmoid is a sixth of ReLU6(x + 3), and the 3 is in the bias
            gate = self._pointwise(gate, block.se_channels, block.mid_channels, "relu6", shift=3.0)
            gate = self._multiply(gate, self._number(1 / 6), (0.0, 1.0))
        return self._multiply(tensor, gate, self._values(tensor))

    def _conv(
        self, block: Block, tensor: int, inputs: int, outputs: int, activation: Activation, depthwise: bool = False
    ) -> int:
        """The k x k convolution of a block, after the padding that it needs."""
        kernel, stride, pads, size = block.kernel, block.stride, block.pads, block.in_size
        same = pads == same_pads(size, kernel, stride)
        if not same:
            rows = [0, 0, *pads, *pads, 0, 0]
            shape = (1, size + sum(pads), size + sum(pads), inputs)
            padding = self._ints(rows, (4, 2))
            tensor = self._operator(Code.PAD, (tensor, padding), shape, Options(22, ()), like=tensor)
        padded = _SAME if same and kernel > 1 else _VALID
        weight, scales = self._weight((outputs, 1 if depthwise else inputs, kernel, kernel), depthwise)
        bias = self._bias(outputs, tensor, scales)
        window = ((1, padded), (4, stride), (4, stride))
        fused = (1, _FUSED.get(activation, _PLAIN))
        if depthwise:
            options = Options(2, (*window, (4, 1), fused, (4, 1), (4, 1)))
        else:
            options = Options(1, (*window, fused, (4, 1), (4, 1)))
        code = Code.DEPTHWISE_CONV_2D if depthwise else Code.CONV_2D
        shape = (1, block.out_size, block.out_size, outputs)
        return self._activated(code, (tensor, weight, bias), shape, options, activation)

    def _pointwise(
        self,
        tensor: int,
        inputs: int,
        outputs: int,
        activation: Activation = "none",
        bias: bool = True,
        shift: float = 0.0,
    ) -> int:
        """A 1x1 convolution; `shift` is added to its bias."""
        weight, scales = self._weight((outputs, inputs, 1, 1))
        added = self._bias(outputs, tensor, scales, bias, shift)
        fused = _FUSED.get(activation, _PLAIN)
        options = Options(1, ((1, _VALID), (4, 1), (4, 1), (1, fused), (4, 1), (4, 1)))
        shape = (*self._shape(tensor)[:3], outputs)
        return self._activated(Code.CONV_2D, (tensor, weight, added), shape, options, activation)

    def _linear(self, block: Block, tensor: int) -> int:
        weight, scales = self._weight((block.out_channels, block.in_channels))
        bias = self._bias(block.out_channels, tensor, scales)
        options = Options(8, ((1, _FUSED.get(block.activation, _PLAIN)), (1, 0), (1, 0), (1, 0)))
        shape = (1, block.out_channels)
        return self._activated(Code.FULLY_CONNECTED, (tensor, weight, bias), shape, options, block.activation)

    def _activated(
        self, code: Code, inputs: tuple[int, ...], shape: tuple[int, ...], options: Options, activation: Activation
    ) -> int:
        """An operator, and what of its activation is no part of it."""
        values = {"relu": (0.0, _RANGE[1]), "relu6": (0.0, 6.0)}.get(activation, _RANGE)
        tensor = self._operator(code, inputs, shape, options, values)
        match activation:
            case "hswish":
                return self._operator(Code.HARD_SWISH, (tensor,), shape)
            case "silu":
                return self._multiply(tensor, self._sigmoid(tensor), _RANGE)
        return tensor

    def _sigmoid(self, tensor: int) -> int:
        return self._operator(Code.LOGISTIC, (tensor,), self._shape(tensor), values=(0.0, 255 / 256))

    def _mean(self, tensor: int) -> int:
        shape = (1, 1, 1, self._shape(tensor)[3])
        return self._operator(Code.MEAN, (tensor, self._ints([1, 2])), shape, Options(27, ((1, 1),)), like=tensor)

    def _multiply(self, left: int, right: int, values: tuple[float, float]) -> int:
        return self._operator(Code.MUL, (left, right), self._shape(left), Options(21, ((1, _PLAIN),)), values)

    def _operator(
        self,
        code: Code,
        inputs: tuple[int, ...],
        shape: tuple[int, ...],
        options: Options | None = None,
        values: tuple[float, float] = _RANGE,
        like: int | None = None,
    ) -> int:
        """Append an operator; the index of its output, whose numbers lie in `values` or as those of tensor `like`."""
        output = self.file.add(self._between(shape, values, like))
        self.file.operators.append(Operator(code, self._version(code), inputs, output, options))
        return output

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return self.file.tensors[tensor].shape

    def _ints(self, values: Sequence[int], shape: tuple[int, ...] | None = None) -> int:
        import numpy as np

        data = np.asarray(values, "<i4").tobytes()
        return self.file.add(Tensor(shape or (len(values),), Element.INT32, data))

    # What another precision does in its own way.

    def _version(self, code: Code) -> int:
        return 1

    def _input(self, shape: tuple[int, ...]) -> int:
        """The tensor that the file is given, as the operators read it."""
        return self.file.add(Tensor(shape))

    def _between(self, shape: tuple[int, ...], values: tuple[float, float], like: int | None) -> Tensor:
        """A tensor that an operator gives."""
        return Tensor(shape)

    def _values(self, tensor: int) -> tuple[float, float]:
        """The range that the numbers of `tensor` lie in."""
        return _RANGE

    def _number(self, value: float) -> int:
        return self._floats((), value)

    def _weight(self, shape: tuple[int, ...], depthwise: bool = False) -> tuple[int, tuple[float, ...]]:
        """The next weights of `shape` (outputs, inputs, height, width), and the scales that they are stored with."""
        data = self.drawn.draw(math.prod(shape), weight_scale(math.prod(shape[1:])))
        turned = _turned(data.reshape(shape), depthwise)
        return self._floats(turned.shape, turned), ()

    def _bias(
        self, channels: int, tensor: int, scales: tuple[float, ...], drawn: bool = True, shift: float = 0.0
    ) -> int:
        """The bias of what reads `tensor` and weights of these scales: the next numbers or, undrawn, zeros."""
        return self._floats((channels,), self._bias_values(channels, drawn, shift))

    def _bias_values(self, channels: int, drawn: bool, shift: float) -> Any:
        import numpy as np

        return (self.drawn.draw(channels, BIAS_SCALE) if drawn else np.zeros(channels, np.float32)) + np.float32(shift)

    def _floats(self, shape: tuple[int, ...], values: Any) -> int:
        import numpy as np

        return self.file.add(Tensor(shape, Element.FLOAT32, np.asarray(values, "<f4").tobytes()))


@dataclass
class QuantisedTfliteGraph(TfliteGraph):
    """The same with all that is between operators in 8 signed bits, weights by output channel, biases in 32 bits."""

    def end(self, tensor: int) -> None:
        """Give the last tensor, in 32-bit floating point again."""
        output = self.file.add(Tensor(self._shape(tensor)))
        self.file.operators.append(Operator(Code.DEQUANTIZE, self._version(Code.DEQUANTIZE), (tensor,), output))

    def _version(self, code: Code) -> int:
        return _INT8_VERSIONS.get(code, 1)

    def _input(self, shape: tuple[int, ...]) -> int:
        return self._operator(Code.QUANTIZE, (self.file.add(Tensor(shape)),), shape)

    def _between(self, shape: tuple[int, ...], values: tuple[float, float], like: int | None) -> Tensor:
        if like is not None:
            return Tensor(shape, Element.INT8, None, self.file.tensors[like].quantisation)
        low, high = values
        scale = (high - low) / 255
        return Tensor(shape, Element.INT8, None, Quantisation((scale,), round(-128 - low / scale)))

    def _values(self, tensor: int) -> tuple[float, float]:
        found = self._quantisation(tensor)
        return tuple(found.scales[0] * (end - found.zero_point) for end in (-128, 127))  # type: ignore[return-value]

    def _number(self, value: float) -> int:
        return self.file.add(Tensor((), Element.INT8, bytes([127]), Quantisation((value / 127,))))

    def _weight(self, shape: tuple[int, ...], depthwise: bool = False) -> tuple[int, tuple[float, ...]]:
        data, scale = self.drawn.draw_integers(math.prod(shape), weight_scale(math.prod(shape[1:])))
        turned = _turned(data.reshape(shape), depthwise).astype("i1")
        # A matrix has one scale, as the versions of this operator that phones have read it.
        scales = (scale,) * (shape[0] if len(shape) == 4 else 1)
        stored = Quantisation(scales, 0, 3 if depthwise else 0)
        return self.file.add(Tensor(turned.shape, Element.INT8, turned.tobytes(), stored)), scales

    def _bias(
        self, channels: int, tensor: int, scales: tuple[float, ...], drawn: bool = True, shift: float = 0.0
    ) -> int:
        import numpy as np

        products = tuple(scale * self._quantisation(tensor).scales[0] for scale in scales)
        data = np.rint(self._bias_values(channels, drawn, shift) / np.asarray(products)).astype("<i4")
        return self.file.add(Tensor((channels,), Element.INT32, data.tobytes(), Quantisation(products)))

    def _quantisation(self, tensor: int) -> Quantisation:
        found = self.file.tensors[tensor].quantisation
        if found is None:
            raise TypeError(f"tensor {tensor} is not quantised")
        return found


def _turned(weight: Any, depthwise: bool) -> Any:
    """Weights (outputs, inputs, height, width) with the channels last, as LiteRT reads them; a matrix as it is."""
    if weight.ndim == 2:
        return weight
    return weight.transpose(1, 2, 3, 0) if depthwise else weight.transpose(0, 2, 3, 1)
