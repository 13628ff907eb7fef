"""Blocks as TFLite files, without torch, TensorFlow or LiteRT."""

from collections.abc import Sequence
from typing import Final

from latency_tables.blocks import Block, require_chain
from latency_tables.errors import TableError
from latency_tables.random_weights import RandomWeights
from latency_tables.table import Precision
from latency_tables.tflite_graph import QuantisedTfliteGraph, TfliteGraph

GRAPHS: Final[dict[Precision, type[TfliteGraph]]] = {"fp32": TfliteGraph, "int8": QuantisedTfliteGraph}


def build_tflite(blocks: Sequence[Block], precision: Precision = "fp32", seed: int = 0) -> bytes:
    """A TFLite file that runs `blocks` one after the other on a batch of one float32 image.

    Input "input" is 1 x size x size x channels of the first block, or 1 x 3 x size x size where that reads a picture;
    output "output" is what the last block gives, channels last. TableError where a block does not take what the block
    before it gives, and for a precision other than fp32 and int8.
    """
    require_chain(blocks)
    if precision not in GRAPHS:
        raise TableError(f"LiteRT is measured in {' or '.join(GRAPHS)}, not in {precision}")
    graph = GRAPHS[precision](RandomWeights.seeded(seed))
    tensor = graph.begin(blocks[0])
    for block in blocks:
        tensor = graph.add_block(block, tensor)
    graph.end(tensor)
    return graph.file.to_bytes()
