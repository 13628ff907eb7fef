"""Devices and precisions: what is there is chosen, what is not is named, and training below fp32 still learns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import PipelineError
from pipeline.runs.config import ConfigError
from pipeline.runs.config_file import parse_config
from pipeline.spaces.files import load_space
from pipeline.supernets import steps, training
from pipeline.supernets.augment import Augmentation
from pipeline.supernets.compute import choose, device_of, present
from pipeline.supernets.data import TrainingData
from pipeline.supernets.files import read_tensors
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.steps import Training
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import train

SPACE = load_space("quickstart").with_resolutions([12]).with_classes(4)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    """Four classes told apart by where the bright quarter is."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(128) % 4
    images = torch.randint(0, 60, (128, 12, 12, 3), generator=generator, dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[6 * (label // 2) : 6 * (label // 2) + 6, 6 * (label % 2) : 6 * (label % 2) + 6] += 150
    return TrainingData(images, labels, (0.5,) * 3, (0.25,) * 3, Augmentation(shift=0.0, flip=False))


def _settings(**more: Any) -> TrainSettings:
    return TrainSettings(recipe="single-path", epochs=3, batch_size=16, lr=0.05, checkpoint_seconds=0, **more)


def test_auto_is_what_this_machine_has() -> None:
    chosen = choose()
    assert str(chosen.device) == (present()[1] if len(present()) > 1 else "cpu")
    assert chosen.precision == "fp32" or chosen.device.type == "cuda"


@pytest.mark.parametrize("device", ["cuda:77", "mps" if "mps" not in present() else "cuda:78"])
def test_a_device_that_is_not_there_is_named_with_those_that_are(device: str) -> None:
    with pytest.raises(PipelineError, match=rf"device = '{device}' is not on this machine; it has cpu"):
        choose(device)


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(PipelineError, match="'fp16' needs a GPU"):
        choose("cpu", "fp16")


@pytest.mark.parametrize(("key", "value"), [("device", "gpu"), ("device", "cuda:x"), ("precision", "int8")])
def test_the_configuration_refuses_other_names(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"\[train\] {key} = '{value}'"):
        parse_config({"data": {"path": "digits"}, "train": {key: value}}, "config.toml")


def test_bf16_learns_what_fp32_does(data: TrainingData) -> None:
    last = {}
    for precision in ("fp32", "bf16"):
        supernet = Supernet(SPACE, seed=0)
        losses = train(supernet, data, _settings(precision=precision)).losses
        last[precision] = sum(losses[-4:]) / 4
        assert last[precision] < 0.8 * losses[0]
        assert all(parameter.dtype == torch.float32 for parameter in supernet.parameters())
    assert last["bf16"] == pytest.approx(last["fp32"], rel=0.25)
    assert last["bf16"] != last["fp32"]  # it was another arithmetic


def test_a_checkpoint_goes_on_in_another_precision(data: TrainingData, tmp_path: Path) -> None:
    """As it does on another device: neither is part of what a training is."""
    checkpoint = tmp_path / "checkpoint"

    class _Killed(Exception):
        pass

    def kill(done: int, total: int, what: str) -> None:
        if done == 10:
            raise _Killed

    with pytest.raises(_Killed):
        train(Supernet(SPACE, seed=0), data, _settings(), checkpoint, kill)
    tensors, about = read_tensors(checkpoint, "checkpoint")
    assert about["step"] == 9 and all(tensor.device.type == "cpu" for tensor in tensors.values())
    assert train(Supernet(SPACE, seed=0), data, _settings(precision="bf16"), checkpoint).steps == 24


def _small_memory(most: int) -> Callable[..., float]:
    """A step that runs out of memory for more than `most` images, as a GPU's does."""
    passes = Training._passes

    def limited(self: Any, phase: Any, images: torch.Tensor, answers: Any) -> float:
        if len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return passes(self, phase, images, answers)

    return limited


@pytest.mark.parametrize(
    ("most", "count", "said"),
    [(5, 1, r"batch_size = 4 does"), (5, 2, r"batch_size = 8 does"), (0, 1, "not even one image")],
)
def test_out_of_memory_names_the_batch_that_fits(
    most: int, count: int, said: str, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch of all processes: of two, each takes a half."""
    monkeypatch.setattr(Training, "_passes", _small_memory(most))
    for module in (steps, training):
        monkeypatch.setattr(module, "processes", lambda: count)
    with pytest.raises(PipelineError, match=said) as raised:
        train(Supernet(SPACE, seed=0), data, _settings())
    assert "\n" not in str(raised.value)


def test_everything_follows_the_network(data: TrainingData) -> None:
    assert device_of(Supernet(SPACE, seed=0)) == torch.device("cpu")
    assert device_of(torch.nn.ReLU()) == torch.device("cpu")
