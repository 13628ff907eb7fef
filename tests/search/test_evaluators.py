"""The contract of every evaluator, on real images of digits and a supernet as it starts."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from pipeline.fewshot.prefix import JudgingImages, judge_all
from pipeline.ranking.private_tuning import PrivateTuning
from pipeline.search import from_scratch as trainings
from pipeline.search.evaluators import Evaluator, Scored, fine_tuned, from_scratch
from pipeline.spaces.files import load_space
from pipeline.supernets.data import TrainingData
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet

SPACE = load_space("quickstart").with_resolutions((16,))
ARCHS = [SPACE.sample(random.Random(seed)) for seed in range(2)]
SUPERNET = Supernet(SPACE, seed=0)


def _digits() -> tuple[TrainingData, JudgingImages]:
    digits = load_digits()
    pixels = np.repeat(np.repeat(digits.images, 2, axis=1), 2, axis=2)[..., None].repeat(3, axis=3) * 15.9
    labels = torch.from_numpy(digits.target.astype(np.int64))
    data = TrainingData(torch.from_numpy(pixels.astype(np.uint8)), labels, (0.3,) * 3, (0.37,) * 3)
    images = data.normalised(torch.arange(400))
    return data.subset(torch.arange(400, 1700)), JudgingImages(images[:100], images[100:], labels[100:400])


DATA, JUDGING = _digits()
SETTINGS = TrainSettings(recipe="alone", epochs=0.5, batch_size=64, lr=0.05)
MAKE: dict[str, Callable[[Path], Evaluator]] = {
    "inherited": lambda _: Scored(
        "inherited", lambda archs: [-score.cross_entropy for score in judge_all(SUPERNET, archs, JUDGING)]
    ),
    "fine-tuned": lambda _: fine_tuned(lambda _: SUPERNET, DATA, JUDGING, PrivateTuning(batches=2)),
    "from-scratch": lambda folder: from_scratch(SPACE, DATA, JUDGING, SETTINGS, folder),
}


@pytest.mark.parametrize("name", MAKE)
def test_an_evaluator_gives_one_finite_score_per_network_and_the_same_again(name: str, tmp_path: Path) -> None:
    evaluator = MAKE[name](tmp_path / "one")
    assert evaluator.fidelity == name
    scores = evaluator.evaluate(ARCHS)
    assert len(scores) == len(ARCHS) and np.isfinite(scores).all()
    assert all(isinstance(score, float) for score in scores)
    assert MAKE[name](tmp_path / "two").evaluate(ARCHS[::-1]) == pytest.approx(scores[::-1], abs=1e-6)


def test_training_from_scratch_learns_and_is_never_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    longer = replace(SETTINGS, epochs=3, lr=0.1)
    (accuracy,) = from_scratch(SPACE, DATA, JUDGING, longer, tmp_path).evaluate(ARCHS[:1])
    assert accuracy > 0.3  # ten digits: guessing gives 0.1
    monkeypatch.setattr(trainings, "train", lambda *_, **__: pytest.fail("trained again"))
    assert from_scratch(SPACE, DATA, JUDGING, longer, tmp_path).evaluate(ARCHS[:1]) == [accuracy]


def test_a_training_that_was_stopped_on_the_way_goes_on_to_the_same_end(tmp_path: Path) -> None:
    """Accuracies after 1 and 3 epochs are told, kept, and told again first; watching changes nothing of the result."""
    longer = replace(SETTINGS, epochs=4, checkpoint_seconds=1.0)
    (alone,) = from_scratch(SPACE, DATA, JUDGING, longer, tmp_path / "alone").evaluate(ARCHS[:1])
    watched = trainings.FromScratch(SPACE, DATA, JUDGING, longer, tmp_path / "watched")
    told: list[tuple[int, float]] = []

    def stop(epoch: int, accuracy: float) -> None:
        told.append((epoch, accuracy))
        if epoch == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        watched.watched(ARCHS[0], stop)
    again: list[tuple[int, float]] = []
    assert watched.watched(ARCHS[0], lambda epoch, accuracy: again.append((epoch, accuracy))) == alone
    assert [epoch for epoch, _ in again] == [1, 3, 4] and again[:2] == told and again[2] == (4, alone)
