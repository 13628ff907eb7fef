"""Networks that Once-for-All and ProxylessNAS published as block lists, lowered to ours.

They lie outside of any space (own widths, own input sizes), yet cost, tables and networks read their blocks.
"""

import json
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from latency_tables.blocks import Activation, Block, round_channels
from latency_tables.errors import TableError
from pipeline.errors import PipelineError

CLASSES: Final = 1000  # all of them classify ImageNet
_ACTIVATIONS: Final[dict[str, Activation]] = {"relu": "relu", "relu6": "relu6", "h_swish": "hswish", "none": "none"}
Positive = Annotated[int, Field(ge=1)]


class PublishedError(PipelineError):
    """A file of published networks that does not read as one."""


class _Layer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    c_in: Positive
    c_out: Positive
    k: Positive
    stride: Positive
    expand: Annotated[float, Field(gt=0)]
    mid: Positive | None = None
    se: bool = False
    act: Literal["relu", "relu6", "h_swish", "none"] = "relu6"
    skip: bool


class PublishedNetwork(BaseModel):
    """One network of `ofa_specialized_nets.json` or `proxylessnas_nets.json`, with the figures it was published with.

    `value` is in the unit that `metric` names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    family: Literal["MobileNetV3", "ProxylessNASNets"]
    input_size: Positive
    stem_out: Positive
    blocks: tuple[_Layer, ...]
    final_expand: Positive | None = None
    feature_mix: Positive
    device: str | None = None
    metric: str | None = None
    value: float | None = None
    batch_size: Positive | None = None
    imagenet_top1: float | None = None
    finetune_epochs: int | None = None

    def lower(self, input_size: int | None = None) -> tuple[Block, ...]:
        """The blocks that a device executes, at the published input size in pixels or at another one."""
        mobile = self.family == "MobileNetV3"
        activation: Activation = "hswish" if mobile else "relu6"
        blocks = [Block("conv", input_size or self.input_size, 3, self.stem_out, 3, 2, activation=activation)]
        for layer in self.blocks:
            last = blocks[-1]
            if layer.c_in != last.out_channels:
                raise PublishedError(f"{self.name}: a layer takes {layer.c_in} channels after {last.out_channels}")
            blocks.append(_block(layer, last.out_size))
        size, channels = blocks[-1].out_size, blocks[-1].out_channels
        expanded = self.final_expand or self.feature_mix
        blocks.append(Block("conv", size, channels, expanded, activation=activation))
        blocks.append(Block("pool", size, expanded, expanded))
        if self.final_expand:
            blocks.append(Block("mix", 1, expanded, self.feature_mix, activation=activation))
        return (*blocks, Block("linear", 1, self.feature_mix, CLASSES))


def read_published(path: Path) -> tuple[PublishedNetwork, ...]:
    """The networks in a JSON file; PublishedError names the first entry that is wrong."""
    try:
        return TypeAdapter(tuple[PublishedNetwork, ...]).validate_python(json.loads(path.read_text()))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise PublishedError(f"{path}: entry {place}: {first['msg']}") from None
    except (OSError, json.JSONDecodeError) as error:
        raise PublishedError(f"{path} cannot be read as JSON: {error}") from None


def _block(layer: _Layer, size: int) -> Block:
    mid = layer.mid or round(layer.c_in * layer.expand)
    squeezed = round_channels(mid // 4) if layer.se else 0
    try:
        return Block(
            "mbconv", size, layer.c_in, layer.c_out, layer.k, layer.stride, mid, squeezed,
            _ACTIVATIONS[layer.act], layer.skip,
        )  # fmt: skip
    except TableError as error:
        raise PublishedError(str(error)) from None
