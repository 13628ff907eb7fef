"""Blocks as ONNX files, without torch: what a device is given to time."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from latency_tables.blocks import Block, require_chain
from latency_tables.coreml_models import build_coreml
from latency_tables.onnx_graph import Graph, HalfGraph, QuantisedGraph
from latency_tables.random_weights import RandomWeights
from latency_tables.table import Precision
from latency_tables.tflite_models import build_tflite

OPSET = 17
IR_VERSION = 8  # what runtimes of 2022 and later read
GRAPHS: Final[dict[Precision, type[Graph]]] = {"fp32": Graph, "fp16": HalfGraph, "int8": QuantisedGraph}


@dataclass(frozen=True)
class NamedModel:
    """Something to time: a name (a block's key, or any other) and the blocks it consists of, in order."""

    name: str
    blocks: tuple[Block, ...]
    precision: Precision = field(default="fp32", kw_only=True)

    def at(self, precision: Precision) -> "NamedModel":
        """The same network computed in `precision`."""
        return self if precision == self.precision else replace(self, precision=precision)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Batch 1, channels, height, width."""
        first = self.blocks[0]
        return (1, first.in_channels, first.in_size, first.in_size)

    @property
    def onnx_bytes(self) -> bytes:
        """The serialised model, built anew each time: a measurement's hundreds of networks would fill the memory."""
        return build_model(self.blocks, precision=self.precision)

    @property
    def tflite_bytes(self) -> bytes:
        """The same as a TFLite file. TableError for a precision that there is none in."""
        return build_tflite(self.blocks, self.precision)

    @property
    def coreml_bytes(self) -> bytes:
        """The same as a zipped Core ML package."""
        return build_coreml(self.blocks, self.precision)


def block_model(block: Block) -> NamedModel:
    """The model of one block, named by its key."""
    return NamedModel(block.key, (block,))


def build_model(blocks: Sequence[Block], seed: int = 0, precision: Precision = "fp32") -> bytes:
    """A serialised ONNX model that runs `blocks` one after the other on a batch of one float32 image.

    What is between input and output is computed in `precision`; int8 is static quantisation in QDQ form.

    Input "input" is 1 x in_channels x in_size x in_size of the first block; output "output" is what the
    last block gives. TableError where a block does not take what the block before it gives.
    """
    from onnx import TensorProto, helper

    require_chain(blocks)
    graph = GRAPHS[precision](RandomWeights.seeded(seed))
    tensor = graph.begin("input")
    for block in blocks:
        tensor = graph.add_block(block, tensor)
    graph.end(tensor, "output")
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
