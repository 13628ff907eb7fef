"""Channels in the order of their importance, so that a smaller network takes the leading ones.

Importance is the L1 norm of the weights that read a channel (Cai et al. 2020, section 3.3, "elastic width").
"""

from dataclasses import replace

from torch import Tensor

from pipeline.weights.published import Layer, Published, Tensors


def sort_channels(network: Published) -> Published:
    """The same function with the channels inside each layer, and those between the layers, in order."""
    stages = [list(map(_sorted_inside, layers)) for layers in network.stages()]
    head = dict(network.head)
    for number, layers in enumerate(stages):
        if layers[0].in_channels == layers[0].out_channels:
            continue  # what comes in may be added to what goes out, so the stem's order is the stage's
        after = stages[number + 1][0] if number + 1 < len(stages) else None
        readers = [_readers(layer) for layer in (*layers[1:], *([after] if after else []))]
        if after is None:
            readers.append(head["conv"]["conv.weight"].abs().sum(dim=(0, 2, 3)))
        order = sum(readers[1:], readers[0]).argsort(descending=True, stable=True)
        layers[0] = layers[0].ordered("out", order)
        layers[1:] = [layer.ordered("in", order).ordered("out", order) for layer in layers[1:]]
        if after is not None:
            stages[number + 1][0] = after.ordered("in", order)
        else:
            head["conv"] = _ordered_columns(head["conv"], order)
    return replace(network, layers=tuple(layer for layers in stages for layer in layers), head=head)


def _sorted_inside(layer: Layer) -> Layer:
    """The middle channels (those of a layer that expands: others are what comes in) and the squeezed ones."""
    if layer.expands:
        reader = layer.tensors["project.weight"].abs().sum(dim=(0, 2, 3))
        layer = layer.ordered("mid", reader.argsort(descending=True, stable=True))
    if layer.se_channels:
        reader = layer.tensors["squeeze.expand.weight"].abs().sum(dim=(0, 2, 3))
        layer = layer.ordered("se", reader.argsort(descending=True, stable=True))
    return layer


def _readers(layer: Layer) -> Tensor:
    """How much of each channel that comes in the layer reads."""
    if layer.expands:
        return layer.tensors["expand.weight"].abs().sum(dim=(0, 2, 3))
    return layer.tensors["depthwise.weight"].abs().sum(dim=(1, 2, 3))


def _ordered_columns(tensors: Tensors, order: Tensor) -> dict[str, Tensor]:
    return {**tensors, "conv.weight": tensors["conv.weight"].index_select(1, order)}
