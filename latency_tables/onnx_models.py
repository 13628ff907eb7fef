"""Blocks as ONNX files, without torch: what a device is given to time.

The graph has the operators, in the order, that the export of a trained network has (BatchNorm folded into the
convolutions), so a runtime fuses and schedules it the same way. The weights are random but reproducible.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from latency_tables.blocks import Activation, Block
from latency_tables.errors import TableError

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8  # what runtimes of 2022 and later read
# Weights repeat a short pattern: latency does not depend on their values, and hundreds of models then
# compress to next to nothing in a kit or on a slow line. A prime length avoids rows that are equal.
_PATTERN_FLOATS = 251


@dataclass(frozen=True)
class NamedModel:
    """Something to time: a name (a block's key, or any other) and the blocks it consists of, in order."""

    name: str
    blocks: tuple[Block, ...]

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Batch 1, channels, height, width."""
        first = self.blocks[0]
        return (1, first.in_channels, first.in_size, first.in_size)

    @property
    def onnx_bytes(self) -> bytes:
        """The serialised model, built anew each time: a measurement's hundreds of networks would fill the memory."""
        return build_model(self.blocks)


def block_model(block: Block) -> NamedModel:
    """The model of one block, named by its key."""
    return NamedModel(block.key, (block,))


def build_model(blocks: Sequence[Block], seed: int = 0) -> bytes:
    """A serialised ONNX model that runs `blocks` one after the other on a batch of one float32 image.

    Input "input" is 1 x in_channels x in_size x in_size of the first block; output "output" is what the
    last block gives. TableError where a block does not take what the block before it gives.
    """
    from onnx import TensorProto, helper

    if not blocks:
        raise TableError("a model needs at least one block")
    for before, after in pairwise(blocks):
        if (before.out_channels, before.out_size) != (after.in_channels, after.in_size):
            raise TableError(f"block {after.key!r} does not take what {before.key!r} gives")
    graph = _Graph(_pattern(seed))
    tensor = "input"
    for block in blocks:
        tensor = graph.add_block(block, tensor)
    graph.nodes[-1].output[0] = "output"
    first, last = blocks[0], blocks[-1]
    shape_in = [1, first.in_channels, first.in_size, first.in_size]
    shape_out = [1, last.out_channels]
    if last.kind != "linear":
        shape_out += [last.out_size, last.out_size]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "network",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape_in)],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape_out)],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    return bytes(model.SerializeToString())


def _pattern(seed: int) -> Any:
    import numpy as np

    return np.random.default_rng(seed).standard_normal(_PATTERN_FLOATS, dtype=np.float32)


@dataclass
class _Graph:
    """The nodes and weights written so far."""

    pattern: Any
    nodes: list["onnx.NodeProto"] = field(default_factory=list)
    weights: list["onnx.TensorProto"] = field(default_factory=list)

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
                tensor = self._node("Gemm", [flat, weight, self._bias(block.out_channels)], transB=1)
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
            names.append(self._bias(outputs))
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
        from onnx import helper

        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _weight(self, shape: list[int], fan_in: int) -> str:
        # He scaling keeps activations near 1 at any depth: denormal numbers would slow a CPU down.
        return self._tensor(shape, math.sqrt(2 / fan_in))

    def _bias(self, channels: int) -> str:
        return self._tensor([channels], 0.1)

    def _tensor(self, shape: list[int], scale: float, values: list[float] | None = None) -> str:
        import numpy as np
        from onnx import TensorProto, helper

        # Begun at another place in each tensor: layers that are alike would make activations explode.
        pattern = np.roll(self.pattern, 37 * len(self.weights)) * np.float32(scale)
        data = np.resize(pattern, math.prod(shape)) if values is None else values
        name = f"w{len(self.weights)}"
        raw = np.asarray(data, dtype="<f4").tobytes()
        self.weights.append(helper.make_tensor(name, TensorProto.FLOAT, shape, raw, raw=True))
        return name
