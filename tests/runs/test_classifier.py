"""A picture is prepared for an exported file exactly as the run prepared its own: the answers are the same."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from exporters import EXPORTERS, ExportOptions, Metadata, Preprocessing, Resize, Samples, export_all
from exporters.registry import file_name
from pipeline.classifier import open_classifier
from pipeline.data.dataset import Dataset, load_dataset
from pipeline.data.division import divide
from pipeline.data.prepare import prepare
from pipeline.data.sources import open_source
from pipeline.runs.images import normalised
from pipeline.runs.run import Run
from pipeline.spaces.files import load_space
from pipeline.supernets.augment import resize
from pipeline.supernets.network import Network
from tests.exporters.conftest import available
from tests.runs.conftest import FinishedRun, pocketnas

SIZES = [(61, 47), (40, 90), (33, 33), (130, 128)]
ROTATED = 0x0112  # EXIF's orientation


def _pictures(folder: Path) -> None:
    """Noise with a pattern, of several sizes, formats and orientations, in two classes."""
    rng = np.random.default_rng(0)
    for number in range(32):
        pixels = rng.integers(0, 256, (*SIZES[number % 4][::-1], 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize(SIZES[number % 4]).effect_spread(2)
        exif = Image.Exif()
        exif[ROTATED] = number % 8 + 1
        path = folder / f"class {number % 2}" / f"{number}.{('jpg', 'png')[number // 4 % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, exif=exif)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """Pictures, and what a run stores of them: 40 pixels, of which networks see the middle 32."""
    folder = tmp_path_factory.mktemp("pictures")
    _pictures(folder / "pictures")
    source = open_source(str(folder / "pictures"), None, "image", "label")
    prepare(divide(source, 0.2, 0.4, seed=0), 40, folder / "data", seen_px=32)
    return folder / "pictures", load_dataset(folder / "data")


def _network(size: int) -> Network:
    space = load_space("quickstart").with_resolutions([size]).with_classes(2)
    return Network(space.blocks(space.sample(random.Random(0))), seed=1).eval()


@pytest.mark.parametrize(
    ("target", "size"), [("onnx", 32), ("onnx", 16), ("onnx", 40), ("pt2", 16), ("coreml", 16), ("litert", 16)]
)
def test_the_answers_are_those_of_the_test_split(
    prepared: tuple[Path, Dataset], tmp_path: Path, target: str, size: int
) -> None:
    if not available(target):
        pytest.skip(f"{target} is not installed")
    folder, dataset = prepared
    images, _ = normalised(dataset.test, dataset, None, 0)
    inputs, network = resize(images, size), _network(size)
    metadata = Metadata(dataset.classes, mean=dataset.mean, std=dataset.std, resize=Resize(40, 32))
    export_all(network, Samples(inputs.numpy()), [target], tmp_path, metadata)
    classifier = open_classifier(tmp_path / file_name(EXPORTERS[target]))
    with torch.no_grad():
        expected = network(inputs).softmax(1).numpy()
    assert len(dataset.test_names) == len(expected) > 4
    for name, probabilities in zip(dataset.test_names, expected, strict=True):
        np.testing.assert_allclose(classifier.probabilities(folder / name), probabilities, atol=1e-5)


def test_a_file_that_takes_pixels_rounds_them(prepared: tuple[Path, Dataset], tmp_path: Path) -> None:
    folder, dataset = prepared
    network = _network(16)
    inputs = resize(normalised(dataset.test, dataset, None, 0)[0], 16)
    metadata = Metadata(dataset.classes, mean=dataset.mean, std=dataset.std, resize=Resize(40, 32))
    options = ExportOptions(preprocessing=Preprocessing(dataset.mean, dataset.std))
    export_all(network, Samples(inputs.numpy()), ["onnx"], tmp_path, metadata, options)
    with torch.no_grad():
        expected = network(inputs).softmax(1).numpy()
    found = [open_classifier(tmp_path / "model.onnx").probabilities(folder / name) for name in dataset.test_names]
    np.testing.assert_allclose(found, expected, atol=0.02)


def as_bytes(content: object) -> bytes:
    assert isinstance(content, bytes)
    return content


def test_predict_is_as_accurate_as_the_run_says(finished: FinishedRun, tmp_path: Path) -> None:
    """The digits of the test split as picture files, through the command."""
    run = Run.open(finished.path)
    digits = {item.name: item.content() for item in open_source("digits", None, "image", "label").items}
    names = []
    for number, name in enumerate(run.dataset.test_names):
        names.append(tmp_path / f"{number}.png")
        names[-1].write_bytes(as_bytes(digits[name]))
    done = pocketnas("predict", finished.path, *names, "--json")
    answers = [entry["top"][0]["label"] for entry in json.loads(done.stdout)]
    labels = [run.dataset.classes[label] for label in run.dataset.test.labels]
    right = [answer == label for answer, label in zip(answers, labels, strict=True)]
    assert sum(right) / len(right) == pytest.approx(finished.printed["winner"]["accuracy"], abs=1e-12)
