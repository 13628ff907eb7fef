"""A supernet that starts from real published weights, and what it knows before any training."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.supernet import Supernet
from pipeline.weights.labels import imagenet_names, matching_rows
from pipeline.weights.linear import features, linear_accuracy
from pipeline.weights.reading import read_network
from pipeline.weights.sources import Provenance, Weights
from pipeline.weights.start import Start, start_supernet
from tests.weights.states import fixed_images, fixed_state, read_shapes


@pytest.fixture(scope="module")
def weights() -> Weights:
    network = read_network(fixed_state(read_shapes("timm-efficientnet_b0")), "b0")
    return Weights(network, Provenance("b0", "file b0", None, "0" * 64, network.naming))


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return load_space("efficientnet-b0").with_resolutions([32, 64])


def _started(weights: Weights, space: SearchSpace, *classes: str) -> tuple[Supernet, Start]:
    supernet = Supernet(space.with_classes(len(classes)) if classes else space, seed=3).eval()
    return supernet, start_supernet(supernet, weights, classes)


def test_a_persons_classes_keep_the_rows_that_are_called_the_same(weights: Weights, space: SearchSpace) -> None:
    supernet, start = _started(weights, space, "tabby cat", "Tabby_Cat ", "Shower  Curtain", "n01440764", "shoes")
    assert start.kept == ("tabby cat", "Tabby_Cat ", "Shower  Curtain", "n01440764")
    own = supernet.banks["head_linear"].state_dict()["weights.linear.weight"]
    published = weights.network.head["linear"]["linear.weight"]
    assert torch.equal(own[2], published[794]) and torch.equal(own[3], published[0])
    assert not any(torch.equal(own[4], row) for row in published)


def test_names_that_several_published_classes_share_match_none() -> None:
    names = imagenet_names()
    assert len(names) == 1000
    assert matching_rows(["crane", "tench", "TENCH", "maillot"], names) == {1: 0, 2: 0}


def test_a_start_is_recorded_in_plain_values(weights: Weights, space: SearchSpace) -> None:
    _, start = _started(weights, space, "a", "b")
    document = json.loads(json.dumps(start.to_document()))
    assert document["base"].startswith("r64_w16-k3e1_w24-k3e6-k3e6") and document["name"] == "b0"
    assert document["placed"] > document["new"] > 0 and document["kept_classes"] == []
    assert document["mean"] == [0.485, 0.456, 0.406]


def test_other_padding_than_the_weights_were_trained_with_is_told(weights: Weights, space: SearchSpace) -> None:
    foreign = replace(weights, provenance=replace(weights.provenance, padding="same", batchnorm_eps=1e-3))
    plain = space.with_numerics("symmetric", 1e-5)
    assert [note.split(" was ")[1] for note in _started(foreign, plain)[1].notes] == [
        "trained with padding same, space efficientnet-b0 has symmetric",
        "trained with BatchNorm epsilon 0.001, space efficientnet-b0 has 1e-05",
    ]
    assert _started(foreign, space.with_numerics("same", 1e-3))[1].notes == ()


def test_the_linear_baseline_learns_what_the_features_tell(weights: Weights, space: SearchSpace) -> None:
    supernet, start = _started(weights, space)
    assert start.base is not None
    network = supernet.extract(replace(start.base, resolution=32))
    images = fixed_images(32)
    assert features(network, images).shape == (2, 1280)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    pictures = images[labels] + 0.3 * torch.randn(40, 3, 32, 32, generator=generator)

    def part(rows: slice) -> tuple[Tensor, Tensor]:
        return pictures[rows], labels[rows]

    assert linear_accuracy(network, part(slice(0, 30)), part(slice(30, 40))) >= 0.9


def test_the_published_classifier_is_taken_over_where_it_fits(
    weights: Weights, space: SearchSpace, tmp_path: Path
) -> None:
    supernet, start = _started(weights, space)
    assert start.base is not None
    kept = supernet.banks["head_linear"].state_dict()["weights.linear.bias"]
    assert torch.equal(kept, weights.network.head["linear"]["linear.bias"])
