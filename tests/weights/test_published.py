"""Published weights in our supernets compute what the published implementations compute."""

import json
import random
from typing import Any

import pytest
import torch

from latency_tables.blocks import total_params
from pipeline.spaces.files import load_space
from pipeline.spaces.named import from_ofa
from pipeline.supernets.supernet import Supernet
from pipeline.weights.catalogue import CATALOGUE
from pipeline.weights.placing import place, published_architecture
from pipeline.weights.reading import read_network
from pipeline.weights.sources import open_weights
from pipeline.weights.start import matching_preset, start_supernet
from tests.weights.conftest import needs_lite0
from tests.weights.states import FOLDER, fixed_images, fixed_state, read_shapes

SIZE = 64
ANSWERS: dict[str, Any] = json.loads((FOLDER / "logits.json").read_text())
# What was run, the listing of its names, the preset that has it, its padding and its BatchNorm epsilon.
ORIGINALS = [
    ("timm-efficientnet_b0", "timm-efficientnet_b0", "efficientnet-b0", "symmetric", 1e-5),
    ("timm-tf_efficientnet_b0", "timm-efficientnet_b0", "efficientnet-b0", "same", 1e-3),
    ("torchvision-efficientnet_b0", "torchvision-efficientnet_b0", "efficientnet-b0", "symmetric", 1e-5),
    ("efficientnet-pytorch-b0", "efficientnet-pytorch-b0", "efficientnet-b0", "same", 1e-3),
    ("timm-mobilenetv2_100", "timm-mobilenetv2_100", "mobilenet-v2", "symmetric", 1e-5),
    ("torchvision-mobilenet_v2", "torchvision-mobilenet_v2", "mobilenet-v2", "symmetric", 1e-5),
    ("timm-mobilenetv3_large_100", "timm-mobilenetv3_large_100", "mobilenet-v3-large", "symmetric", 1e-5),
    ("timm-tf_mobilenetv3_large_100", "timm-mobilenetv3_large_100", "mobilenet-v3-large", "same", 1e-3),
    ("torchvision-mobilenet_v3_large", "torchvision-mobilenet_v3_large", "mobilenet-v3-large", "symmetric", 1e-3),
    ("timm-mobilenetv3_small_100", "timm-mobilenetv3_small_100", "mobilenet-v3-small", "symmetric", 1e-5),
    ("torchvision-mobilenet_v3_small", "torchvision-mobilenet_v3_small", "mobilenet-v3-small", "symmetric", 1e-3),
    ("timm-tf_efficientnet_lite0", "timm-tf_efficientnet_lite0", "efficientnet-lite0", "same", 1e-3),
    ("efficientnet-pytorch-lite0", "efficientnet-pytorch-lite0", "efficientnet-lite0", "same", 1e-3),
]
OFA = {
    "max": {"r": SIZE, "ks": [7] * 20, "e": [6] * 20, "d": [4] * 5},
    "min": {"r": SIZE, "ks": [3] * 20, "e": [3] * 20, "d": [2] * 5},
    "mixed": {"r": SIZE, "ks": [3, 5, 7, 5] * 5, "e": [4, 3, 6, 4] * 5, "d": [2, 3, 4, 3, 2]},
}


def _close(logits: torch.Tensor, name: str, subnet: str) -> None:
    published = torch.tensor(ANSWERS[name]["logits"][subnet])
    scale = max(1.0, float(published.abs().max()))
    assert float((logits[:, ::125] - published).abs().max()) < 1e-4 * scale


@pytest.mark.parametrize(("name", "listing", "preset", "padding", "eps"), ORIGINALS, ids=[o[0] for o in ORIGINALS])
def test_the_base_answers_as_the_original_did(name: str, listing: str, preset: str, padding: Any, eps: float) -> None:
    network = read_network(fixed_state(read_shapes(listing)), name)
    assert network.params == ANSWERS[name]["params"]
    assert matching_preset(network) == preset
    space = load_space(preset).with_resolutions([SIZE]).with_numerics(padding, eps)
    supernet = Supernet(space, seed=1).eval()
    placement = place(network, supernet, name)
    assert placement.base is not None and placement.base.stages == space.base.stages if space.base else True
    with torch.no_grad():
        supernet.activate(placement.base or space.max())
        _close(supernet(fixed_images(SIZE)), name, "base")
        supernet.activate(space.max())  # what is larger than the published network begins as its equal
        _close(supernet(fixed_images(SIZE)), name, "base")


@pytest.mark.parametrize("width", ["1.0", "1.2"])
def test_every_network_of_a_once_for_all_checkpoint_is_there(width: str) -> None:
    name = f"once-for-all-mbv3-{width}"
    network = read_network(fixed_state(read_shapes(name)), name)
    assert network.elastic and network.params == ANSWERS[name]["params"]
    assert matching_preset(network) == f"ofa-mbv3-{width}"
    space = load_space(f"ofa-mbv3-{width}").with_resolutions([SIZE])
    supernet = Supernet(space).eval()
    placement = place(network, supernet, name)
    assert placement.new == () and placement.base == space.max()
    for subnet, choice in OFA.items():
        supernet.activate(from_ofa(space, choice))
        with torch.no_grad():
            _close(supernet(fixed_images(SIZE)), name, subnet)


def test_older_once_for_all_names_are_the_same_network() -> None:
    shapes = read_shapes("once-for-all-mbv3-1.0")
    older = {
        name.replace(".conv.inv", ".mobile_inverted_conv.inv")
        .replace(".conv.depth", ".mobile_inverted_conv.depth")
        .replace(".conv.point", ".mobile_inverted_conv.point"): shape
        for name, shape in shapes.items()
    }
    assert older != shapes
    new, old = (read_network(fixed_state(s), "a file") for s in (shapes, older))
    assert [layer.tensors.keys() for layer in new.layers] == [layer.tensors.keys() for layer in old.layers]


def test_smaller_networks_take_the_most_important_channels_of_a_layer() -> None:
    network = read_network(fixed_state(read_shapes("timm-efficientnet_b0")), "b0")
    supernet = Supernet(load_space("efficientnet-b0").with_resolutions([SIZE]))
    place(network, supernet, "b0")
    for key in ("stage3_layer2", "stage6_layer4"):
        project = supernet.banks[key].state_dict()["weights.project.weight"]
        inside = network.stages()[int(key[5]) - 1][int(key[-1]) - 1]
        importance = project[: inside.out_channels, : inside.mid_channels].abs().sum(dim=(0, 2, 3))
        assert (importance.diff() < 1e-4).all()


def test_the_catalogue_and_the_presets_speak_of_the_same_networks() -> None:
    for entry in CATALOGUE.values():
        space = load_space(entry.space)
        assert space.base is not None
        assert total_params(space.blocks(space.base)) == entry.params
        assert space.padding == entry.padding


@needs_lite0
def test_the_real_weights_of_lite0_answer_as_published() -> None:
    weights = open_weights("efficientnet-lite0")
    assert weights.provenance.licence == "Apache-2.0" and weights.provenance.naming == "EfficientNet-PyTorch"
    space = load_space("efficientnet-lite0").with_resolutions([SIZE])
    supernet = Supernet(space).eval()
    start = start_supernet(supernet, weights)
    assert start.placement.new == () and start.notes == () and start.base is not None
    for network in (supernet, supernet.extract(start.base)):
        supernet.activate(start.base)
        with torch.no_grad():
            _close(network(fixed_images(SIZE) / 2), "efficientnet-lite0", "base")


def test_a_network_outside_of_the_space_has_no_architecture_there() -> None:
    network = read_network(fixed_state(read_shapes("timm-efficientnet_b0")), "b0")
    space = load_space("efficientnet-b0")
    assert published_architecture(network, space) is not None
    stage = space.stages[5]
    narrow = space.with_stage(
        5, type(stage)((160,), stage.depths, stage.slots, stage.stride, stage.activation, stage.squeeze)
    )
    assert published_architecture(network, narrow) is None
    placement = place(network, Supernet(narrow.with_resolutions([SIZE])), "b0")
    assert placement.base is None and placement.placed
    assert narrow.contains(narrow.sample(random.Random(0)))
