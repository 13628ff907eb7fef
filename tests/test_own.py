"""Parts of a person's own, passed as objects: what they are called, and what is refused. docs/python.md shows them."""

import functools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from exporters import ExportRequest, Metadata, Samples, WrongInput, export_all, open_file, verify
from exporters.dependencies import Dependency
from exporters.onnx.run import OnnxRuntime
from exporters.onnx.write import OnnxExporter
from exporters.request import Precision
from exporters.runtime import Runtime
from pipeline.errors import PipelineError
from pipeline.own import own_name
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.data import TrainingData
from pipeline.supernets.network import Network
from pipeline.supernets.recipes import Pass, Phase, StepPlan
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import train

SPACE = load_space("quickstart").with_resolutions([16]).with_classes(2)
SETTINGS = TrainSettings(epochs=1, batch_size=4, lr=0.01)


class Mine:
    """ONNX under another name."""

    target = "mine"
    precision: Precision = "fp32"
    suffix: ClassVar[str] = ".mine"
    needs: ClassVar[tuple[Dependency, ...]] = ()
    runs_with: ClassVar[tuple[Dependency, ...]] = ()
    repeatable: ClassVar[bool] = True

    def convert(self, request: ExportRequest, path: Path) -> Mapping[str, str]:
        OnnxExporter("onnx", "fp32").convert(request, path)
        return {}

    def open(self, path: Path) -> Sequence[Runtime]:
        return [OnnxRuntime(path)]


class Known(Mine):
    """Under a name that is taken."""

    target = "onnx"


def _plan(space: SearchSpace) -> StepPlan:
    def plan(rng: random.Random, done: float) -> list[Pass]:
        return [Pass(space.min())]

    return plan


def smallest(space: SearchSpace) -> Sequence[Phase]:
    """The smallest network alone."""
    return [Phase("smallest", _plan(space))]


@pytest.fixture
def data() -> TrainingData:
    images = torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return TrainingData(images, torch.arange(8) % 2, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_an_exporter_of_ones_own_is_verified_and_opened_like_all_others(data: TrainingData, tmp_path: Path) -> None:
    network, samples = Network(SPACE.blocks(SPACE.min()), seed=0), Samples(data.normalised().contiguous().numpy())
    metadata = Metadata(("a", "b"), mean=tuple(data.mean), std=tuple(data.std))
    reports = export_all(network, samples, ["onnx", Mine()], tmp_path, metadata)
    assert [(report.format, report.path, report.parity.status) for report in reports] == [
        ("onnx", "model.onnx", "passed"),
        ("mine", "model.mine", "passed"),
    ]
    assert [report.parity.status for report in verify(tmp_path)] == ["passed", "not run"]
    assert [report.parity.status for report in verify(tmp_path, own=[Mine()])] == ["passed", "passed"]
    opened = open_file(tmp_path / "model.mine", own=[Mine()])
    pixels = np.zeros((3, 16, 16, 3), np.uint8)
    np.testing.assert_allclose(opened.run(pixels)[0], open_file(tmp_path / "model.onnx").run(pixels)[0])
    with pytest.raises(WrongInput, match="is no exported model"):
        open_file(tmp_path / "model.mine")
    for targets in ([Known()], [Mine(), Mine()]):
        with pytest.raises(WrongInput, match="stands for two exporters"):
            export_all(network, samples, targets, tmp_path / "other", metadata)
    assert not (tmp_path / "other").exists()


def test_a_recipe_of_ones_own_trains_what_it_plans(data: TrainingData, tmp_path: Path) -> None:
    supernet, checkpoint = Supernet(SPACE, seed=0), tmp_path / "checkpoint.safetensors"
    before = supernet.extract(SPACE.max()).state_dict()
    train(supernet, data, SETTINGS, checkpoint, recipe=smallest)
    after = supernet.extract(SPACE.max()).state_dict()
    moved = [name for name in before if "weight" in name and not torch.equal(before[name], after[name])]
    assert moved and len(moved) < len([name for name in before if "weight" in name])  # layers of larger ones stayed
    with pytest.raises(PipelineError, match=r"checkpoint of another training \(recipe differ\)"):
        train(supernet, data, SETTINGS, checkpoint)
    with pytest.raises(PipelineError, match="a network without choices has none"):
        train(Network(SPACE.blocks(SPACE.min())), data, SETTINGS, recipe=smallest)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (smallest, "tests.test_own.smallest"),
        (Mine, "tests.test_own.Mine"),
        (Mine(), "tests.test_own.Mine"),
        (functools.partial(smallest), "functools.partial"),
    ],
)
def test_what_a_part_is_called(part: object, name: str) -> None:
    assert own_name(part) == name
