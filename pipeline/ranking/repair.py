"""What mends a ranking by shared weights: a few batches of privacy, and dropping the options that rank worst."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.fewshot.decisions import Decision, SplitError, decisions_of
from pipeline.fewshot.prefix import JudgingImages
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.data import TrainingData
from pipeline.supernets.evaluate import Score, evaluate, refresh_batchnorm
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import Progress, train


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


def repaired(order: Sequence[int], tuned: Sequence[float]) -> list[int]:
    """`order` (indices, best first) with its first `len(tuned)` put in the order of their private scores.

    Scores before and after the fine-tune are not compared: what was not tuned stays behind what was.
    """
    if len(tuned) > len(order):
        raise SplitError(f"{len(tuned)} private scores for {len(order)} ranked networks")
    head = sorted(range(len(tuned)), key=lambda place: -tuned[place])
    return [*(order[place] for place in head), *order[len(tuned) :]]


def pruned(
    space: SearchSpace, archs: Sequence[Architecture], scores: Sequence[float], drop: int
) -> tuple[SearchSpace, tuple[tuple[Decision, str], ...]]:
    """`space` without its `drop` worst options, and which those were, worst first.

    An option's worth is the mean rank of the networks that have it, against the mean of its decision. Supernets
    tell the worst from the rest far better than the best from the good. Give only networks that the budget
    allows, or the options that make networks small enough may go. Every decision keeps one option at least, and
    an option that no network of `archs` has is not judged. Raises SplitError if scores and networks do not pair.
    """
    if len(archs) != len(scores) or not archs:
        raise SplitError(f"{len(archs)} networks with {len(scores)} scores; one each is needed")
    ranks = np.argsort(np.argsort(np.asarray(scores), kind="stable")) / len(scores)
    worths: list[tuple[float, Decision, str]] = []
    for decision in decisions_of(space):
        if decision.kind in ("kernel", "expand"):
            continue  # the op says it already
        chosen = np.array([decision.option_of(arch) for arch in archs])
        for option in decision.options(space):
            own = ranks[chosen == option]
            if len(own):
                worths.append((float(own.mean() - ranks.mean()), decision, option))
    dropped: list[tuple[Decision, str]] = []
    for _, decision, option in sorted(worths, key=lambda worth: worth[0]):
        if len(dropped) == drop:
            break
        try:
            left = [other for other in decision.options(space) if other != option]
        except SplitError:
            continue  # the layer went with the depth that had it
        if left and option in decision.options(space):
            space = decision.restrict(space, left)
            dropped.append((decision, option))
    return space, tuple(dropped)


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
