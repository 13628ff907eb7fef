"""Curves: what a line says, that training does not notice, and that a kill leaves each epoch once."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.spaces.space import SearchSpace
from pipeline.supernets.curve import Curve, CurvePoint, judged_every, read_curve
from pipeline.supernets.data import TrainingData
from pipeline.supernets.evaluate import evaluate_inherited
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import train

SETTINGS = TrainSettings(recipe="sandwich", epochs=2.5, batch_size=16, lr=0.02, seed=3, checkpoint_seconds=0)
Make = Callable[[Path], Curve]


@pytest.fixture
def curve(tiny_space: SearchSpace, tiny_data: TrainingData) -> Make:
    pixels = tiny_data.normalised()
    networks = {"largest": tiny_space.max(), "smallest": tiny_space.min()}
    return lambda file: Curve(file, networks, lambda: (pixels, pixels, tiny_data.labels), 2, len(tiny_data))


def test_a_line_an_epoch_and_the_same_weights(
    curve: Make, tiny_space: SearchSpace, tiny_data: TrainingData, tmp_path: Path
) -> None:
    file = tmp_path / "curve.jsonl"
    plain, followed = Supernet(tiny_space), Supernet(tiny_space)
    expected = train(plain, tiny_data, SETTINGS)
    assert train(followed, tiny_data, SETTINGS, on_epoch=curve(file)) == expected
    theirs = plain.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in followed.state_dict().items())
    points = read_curve(file)
    assert [(point.epoch, point.step) for point in points] == [(1, 4), (2, 8), (2.5, 10)]
    assert [point.loss for point in points] == [
        pytest.approx(sum(part) / len(part), abs=1e-4)
        for part in (expected.losses[:4], expected.losses[4:8], expected.losses[8:])
    ]
    assert points[0].learning_rate > points[1].learning_rate > points[2].learning_rate
    assert points[0].accuracy is None and points[1].accuracy is not None  # every second epoch, and the end
    pixels = tiny_data.normalised()
    assert points[2].accuracy == {
        name: round(evaluate_inherited(followed, arch, pixels, pixels, tiny_data.labels).accuracy, 5)
        for name, arch in (("largest", tiny_space.max()), ("smallest", tiny_space.min()))
    }


def test_a_training_that_goes_on_continues_its_curve(
    curve: Make, tiny_space: SearchSpace, tiny_data: TrainingData, tmp_path: Path
) -> None:
    whole, killed, checkpoint = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl", tmp_path / "c.safetensors"
    train(Supernet(tiny_space), tiny_data, SETTINGS, on_epoch=curve(whole))

    def kill(done: int, total: int, what: str) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Supernet(tiny_space), tiny_data, SETTINGS, checkpoint, kill, curve(killed))
    # What a later kill than the last checkpoint leaves, and a line that a full disk has cut.
    (point,) = read_curve(killed)
    later = point.model_copy(update={"epoch": 2.0, "step": 8, "loss": 99.0})
    killed.write_text(f"{point.model_dump_json()}\n{later.model_dump_json()}\n" + '{"epoch": 3')
    train(Supernet(tiny_space), tiny_data, SETTINGS, checkpoint, None, curve(killed))
    told = {"time", "images_per_second"}
    assert [p.model_dump(exclude=told) for p in read_curve(killed)] == [
        p.model_dump(exclude=told) for p in read_curve(whole)
    ]


def test_a_loss_that_is_no_number_is_null(curve: Make, tiny_space: SearchSpace, tmp_path: Path) -> None:
    from pipeline.supernets.steps import EpochEnd

    curve(tmp_path / "c.jsonl")(EpochEnd(1.0, 4, False, math.nan, 0.1, Supernet(tiny_space)))
    (point,) = read_curve(tmp_path / "c.jsonl")
    assert point.loss is None and "NaN" not in (tmp_path / "c.jsonl").read_text()


@pytest.mark.parametrize("images", [100, 1_168, 50_000])
def test_judging_stays_a_small_share(images: int) -> None:
    every = judged_every(3, images, passes=4)
    judging, training = 3 * (128 + 256), 3 * 4 * images * every
    assert judging <= 0.025 * training
    assert every == 1 or judging > 0.025 * 3 * 4 * images * (every - 1)


def test_what_is_no_point_is_passed_over(tmp_path: Path) -> None:
    point = CurvePoint(
        time=1.0, epoch=1, step=4, loss=1.0, learning_rate=0.1, images_per_second=None, accuracy={"largest": 0.5}
    )
    file = tmp_path / "c.jsonl"
    file.write_bytes(b"\xff\n[]\n" + point.model_dump_json().encode() + b'\n{"step": "many"}\n')
    assert read_curve(file) == [point]
    assert read_curve(tmp_path / "none.jsonl") == []
