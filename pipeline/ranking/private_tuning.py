"""A short fine-tune of single networks without sharing, and the order that it gives the best of a ranking."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.fewshot.decisions import SplitError
from pipeline.fewshot.prefix import JudgingImages
from pipeline.progress import Progress
from pipeline.spaces.architecture import Architecture
from pipeline.supernets.data import TrainingData
from pipeline.supernets.evaluate import Score, evaluate, refresh_batchnorm
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import train


@dataclass(frozen=True, slots=True)
class PrivateTuning:
    """A short training of one network alone, from inherited weights; every network sees the same images."""

    batches: int = 10
    batch_size: int = 128
    lr: float = 0.01
    weight_decay: float = 5e-4
    seed: int = 0


def privately_tuned(
    supernet: Supernet,
    archs: Sequence[Architecture],
    data: TrainingData,
    judging: JudgingImages,
    tuning: PrivateTuning,
    progress: Progress | None = None,
) -> list[Score]:
    """The score of each of `archs` after `tuning` without sharing; the supernet is left as it was.

    Zhang et al. 2020 ("Deeper insights", section 5): 5 to 20 batches lift the rank correlation most.
    """
    scores = []
    for done, arch in enumerate(archs, 1):
        network = supernet.extract(arch)
        train(network, data, _settings(tuning, len(data)))
        refresh_batchnorm(network, judging.bn_images, batch_size=len(judging.bn_images))
        scores.append(evaluate(network, judging.images, judging.labels))
        if progress is not None:
            progress(done, len(archs), "private fine-tunes")
    return scores


def reranked(order: Sequence[int], tuned: Sequence[float]) -> list[int]:
    """`order` (indices, best first) with its first `len(tuned)` put in the order of their private scores.

    Scores before and after the fine-tune are not compared: what was not tuned stays behind what was.
    """
    if len(tuned) > len(order):
        raise SplitError(f"{len(tuned)} private scores for {len(order)} ranked networks")
    head = sorted(range(len(tuned)), key=lambda place: -tuned[place])
    return [*(order[place] for place in head), *order[len(tuned) :]]


def _settings(tuning: PrivateTuning, images: int) -> TrainSettings:
    batch_size = min(tuning.batch_size, images)
    return TrainSettings(
        recipe="alone",
        epochs=tuning.batches / (images // batch_size),
        batch_size=batch_size,
        lr=tuning.lr,
        weight_decay=tuning.weight_decay,
        label_smoothing=0.0,
        warmup=0.0,
        grad_clip=5.0,
        seed=tuning.seed,
    )
