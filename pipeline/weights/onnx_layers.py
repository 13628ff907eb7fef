"""An ONNX file whose names tell nothing: its convolutions in the order in which they run.

Exporters merge each BatchNorm into the convolution before it and number what is left. What a convolution is, follows
from its place: every layer has one depthwise convolution, and the 1x1 ones between two of those are, in order,
squeeze-and-excitation's two where there are more than two, the projection, and the next layer's expansion.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from pipeline.supernets.files import WeightsError

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """A convolution or a matrix product; `weight` has the shape that torch gives it."""

    kind: Literal["full", "depthwise", "point", "linear"]
    weight: Tensor
    bias: Tensor | None


def layers_in_order(model: "onnx.ModelProto", source: str) -> dict[str, Tensor]:
    """The tensors of `model` under the naming "onnx" of `namings`, convolutions (out, in, k, k).

    Merged BatchNorms come back as ones that only add a bias: their variance is 1, less the epsilon of the space.
    Raises WeightsError where the model is no chain of such layers.
    """
    steps = _steps(model, source)
    starts = [index for index, step in enumerate(steps) if step.kind == "depthwise"]
    if not starts or steps[0].kind != "full":
        raise WeightsError(f"{source} is no chain of mbconv layers: it has {len(starts)} depthwise convolution(s)")
    state = _convolution("stem.conv", "stem.norm", steps[0])
    before = steps[1 : starts[0]]
    ends = [*starts[1:], len(steps)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        name, last = f"layers.{number}", number == len(starts)
        state |= _expansion(name, before, source)
        state |= _convolution(f"{name}.depthwise", f"{name}.depthwise_norm", steps[start])
        after = steps[start + 1 : end]
        inside = 2 if len([step for step in after if step.kind == "point"]) > (3 if last else 2) else 0
        for step, role in zip(after[:inside], ("reduce", "expand"), strict=False):
            state |= _biased(f"{name}.squeeze.{role}", step)
        if len(after) <= inside:
            raise WeightsError(f"{source}: nothing projects what layer {number} computes")
        state |= _convolution(f"{name}.project", f"{name}.project_norm", after[inside])
        before = after[inside + 1 :]
    return state | _head(before, source)


def _expansion(name: str, steps: Sequence[_Step], source: str) -> dict[str, Tensor]:
    if len(steps) > 1:
        raise WeightsError(f"{source} is no chain of mbconv layers: {len(steps)} convolutions come before {name}")
    return _convolution(f"{name}.expand", f"{name}.expand_norm", steps[0]) if steps else {}


def _head(steps: Sequence[_Step], source: str) -> dict[str, Tensor]:
    if not 2 <= len(steps) <= 3:
        raise WeightsError(f"{source} ends in {len(steps)} convolutions and products; a head has 2 or 3")
    state = _convolution("conv.conv", "conv.norm", steps[0])
    if len(steps) == 3 and steps[1].bias is None:
        state["mix.conv.weight"] = steps[1].weight
    elif len(steps) == 3:
        state |= _biased("hidden.linear", steps[1])
    last = steps[-1]
    return state | _biased("linear.linear", _Step("linear", last.weight.flatten(1), last.bias))


def _convolution(conv: str, norm: str, step: _Step) -> dict[str, Tensor]:
    channels = len(step.weight)
    return {
        f"{conv}.weight": step.weight,
        f"{norm}.weight": torch.ones(channels),
        f"{norm}.bias": torch.zeros(channels) if step.bias is None else step.bias,
        f"{norm}.running_mean": torch.zeros(channels),
        f"{norm}.running_var": torch.ones(channels),
    }


def _biased(name: str, step: _Step) -> dict[str, Tensor]:
    bias = torch.zeros(len(step.weight)) if step.bias is None else step.bias
    return {f"{name}.weight": step.weight, f"{name}.bias": bias}


def _steps(model: "onnx.ModelProto", source: str) -> list[_Step]:
    constants = _Constants(model, source)
    steps: list[_Step] = []
    for node in model.graph.node:
        weight = constants.find(node.input[1]) if len(node.input) > 1 else None
        bias = constants.find(node.input[2]) if len(node.input) > 2 else None
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Conv" and weight is not None and weight.dim() == 4:
            groups = attributes["group"].i if "group" in attributes else 1
            steps.append(_Step(_kind(weight, groups, source), weight, bias))
        elif node.op_type == "Gemm" and weight is not None and weight.dim() == 2:
            turned = "transB" in attributes and attributes["transB"].i
            steps.append(_Step("linear", weight if turned else weight.T.contiguous(), bias))
        elif node.op_type == "MatMul" and weight is not None and weight.dim() == 2:
            steps.append(_Step("linear", weight.T.contiguous(), None))
        elif node.op_type == "Add" and steps and steps[-1].kind == "linear" and steps[-1].bias is None:
            added = [found for name in node.input if (found := constants.find(name)) is not None]
            if added and added[0].numel() == len(steps[-1].weight):
                steps[-1] = _Step("linear", steps[-1].weight, added[0].flatten())
    return steps


def _kind(weight: Tensor, groups: int, source: str) -> Literal["full", "depthwise", "point"]:
    if groups == 1:
        return "point" if weight.shape[-1] == 1 else "full"
    if groups == len(weight) and weight.shape[1] == 1:
        return "depthwise"
    raise WeightsError(f"{source}: a convolution of {len(weight)} channels has {groups} groups; 1 or all are accepted")


class _Constants:
    """Tensors by the names that nodes use, followed through `Identity`."""

    def __init__(self, model: "onnx.ModelProto", source: str) -> None:
        self._source = source
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self._same: dict[str, str] = {}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                self._stored[node.output[0]] = node.attribute[0].t
            elif node.op_type == "Identity" and node.input and node.output:
                self._same[node.output[0]] = node.input[0]

    def find(self, name: str) -> Tensor | None:
        """The tensor called `name`, None where it is computed."""
        for _ in range(len(self._same) + 1):
            if name not in self._same:
                break
            name = self._same[name]
        stored = self._stored.get(name)
        return None if stored is None else onnx_tensor(stored, self._source)


def onnx_tensor(stored: "onnx.TensorProto", source: str) -> Tensor:
    """The numbers of a stored tensor in its shape; WeightsError where they are elsewhere, or cannot be read."""
    from onnx import numpy_helper

    shown = repr(stored.name[:60])
    if stored.external_data:
        raise WeightsError(f"{source} keeps tensor {shown} in another file; save it as one file")
    try:
        return torch.from_numpy(numpy_helper.to_array(stored).copy())
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{source}: tensor {shown} cannot be read ({' '.join(str(error).split())[:100]})") from None


def is_named(model: "onnx.ModelProto") -> bool:
    """Whether the tensors have kept the names of an implementation, BatchNorm statistics among them."""
    return any(tensor.name.endswith("running_mean") for tensor in model.graph.initializer)
