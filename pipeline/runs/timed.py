"""Runs that end in time: `[train] minutes` is shared out among the stages by what a step takes on this machine.

With `cpu_minutes` every second below is one of CPU time, so that other work on the machine changes nothing.
"""

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from latency_tables.blocks import total_macs
from pipeline.runs.documents import Lengths, Schedule
from pipeline.runs.quantised import AWARE_COST
from pipeline.runs.run import Run
from pipeline.search.settings import relaxing

if TYPE_CHECKING:
    from pipeline.supernets.network import Network
    from pipeline.supernets.supernet import Supernet

_RESERVE: Final = (0.12, 60.0)  # share and most seconds kept for export, check, report and reading files
_SHARES: Final = {True: (0.3, 0.15), False: (0.55, 0.1)}  # by published start: supernet, judging; the rest is alone
_FIRST_ROUND: Final = 0.6  # of the time for networks alone: all of them, before the best is trained on
_WARM_STEPS: Final = 3
_TIMED_STEPS: Final = 10
_TIMED_SHARE: Final = 0.02  # of the time, for measuring each of the two kinds of step
_QUANTISING_S: Final = 6.0  # of quantising a network of phones' size and judging it
_LEAST_EPOCHS: Final = 0.5  # of the networks that are compared; with less, fewer are


def scheduled(run: Run) -> Schedule:
    """How long the run's stages train and what they judge: as configured, or what fits into `[train] minutes`.

    With minutes it is measured once and kept in `schedule.json`, so that a run that continues keeps to it.
    """
    config = run.config
    if not config.train.limited:
        return Schedule(
            train_epochs=config.train.epochs,
            split_epochs=config.split.epochs,
            rank_by=config.search.rank_by,
            evaluations=config.search.evaluations,
            private=config.search.private,
        )
    file = run.folder.schedule
    if not file.exists():
        _fitted(run, _seconds(run)).save(file)
    return Schedule.load(file)


def lengths(run: Run, networks: int, kept: int, aware: int = 0) -> Lengths:
    """Epochs of the `networks` that are trained alone, and of the `kept` best afterwards, in the time that is left.

    Of `aware` of them it is possible that they are trained on with quantisation simulated. Kept in the winner's folder
    once chosen. As configured where there are no minutes.
    """
    config, file = run.config, run.folder.winner / "lengths.json"
    if not config.train.limited:
        return Lengths(epochs=config.finetune.epochs, further_epochs=0.0)
    if not file.exists():
        left = remaining(run)
        if run.precision == "int8":
            left = max(0.5 * left, left - _QUANTISING_S * (networks + kept + aware))
        an_epoch = scheduled(run).seconds_per_image * len(run.dataset.train)
        Lengths(
            epochs=_rounded(_FIRST_ROUND * left / ((networks + AWARE_COST * aware) * an_epoch)),
            further_epochs=_rounded((1 - _FIRST_ROUND) * left / (kept * an_epoch)),
        ).save(file)
    return Lengths.load(file)


def pays_for(run: Run, networks: int) -> bool:
    """Whether the minutes, where there are any, are enough to train so many networks for a while."""
    if not run.config.train.limited:
        return True
    an_epoch = scheduled(run).seconds_per_image * len(run.dataset.train)
    return _FIRST_ROUND * remaining(run) / (networks * an_epoch) >= _LEAST_EPOCHS


def schedule_lines(run: Run, schedule: Schedule) -> tuple[str, ...]:
    """The plan for people."""
    cpu = run.config.train.cpu_minutes
    minutes, used = _seconds(run) / 60, _elapsed(run) / 60
    ranked = "the ranker" if schedule.rank_by == "ranker" else "inherited scores"
    unit = "minutes of CPU time" if cpu else "minutes"
    return (
        f"{minutes:g} {unit}, {used:.1f} of them used: {schedule.train_epochs + schedule.split_epochs:.1f} epochs of"
        f" the supernet ({schedule.seconds_per_step:.2f} s a step), {schedule.evaluations} evaluations by {ranked},"
        " then networks alone in what is left",
    )


def _fitted(run: Run, seconds: float) -> Schedule:
    now = _clock(run)
    began = now()
    per_step, per_image = seconds_per_step(run), seconds_per_image(run)
    measuring = now() - began
    left = max(0.1 * seconds, seconds - _elapsed(run) - measuring - _reserve(seconds))
    training, judging = _SHARES[run.config.train.start != "none"]
    if relaxing(run.config.search.method):
        training /= 2  # the relaxation takes the other half
    images = len(run.dataset.train)
    an_epoch = per_step * max(1, images // min(run.config.train.batch_size, images))
    epochs = training * left / an_epoch
    # Judging is a forward pass, a third of a training step, over the images that judge and those of BatchNorm.
    judged = min(run.config.search.images, len(run.dataset.search)) + min(run.config.search.images, images)
    evaluations = int(judging * left / (judged * per_image / 3))
    return Schedule(
        train_epochs=_rounded(epochs / run.config.split.regions if run.config.split.regions > 1 else epochs),
        split_epochs=0.0 if run.config.split.regions == 1 else _rounded(epochs / (2 * run.config.split.regions)),
        rank_by="score",
        evaluations=int(np.clip(evaluations, 8, run.config.search.evaluations)),
        private=0,
        measuring_seconds=round(measuring, 3),
        seconds_per_step=round(per_step, 4),
        seconds_per_image=round(per_image, 6),
    )


def remaining(run: Run) -> float:
    """Seconds that a run with minutes has left for training and judging, not less than a tenth of them."""
    seconds = _seconds(run)
    return max(0.1 * seconds, seconds - _elapsed(run) - _reserve(seconds))


def _seconds(run: Run) -> float:
    """The time that the run has: wall time, or CPU time of all threads."""
    return 60 * (run.config.train.minutes or run.config.train.cpu_minutes or 0.0)


def _clock(run: Run) -> Callable[[], float]:
    return time.perf_counter if run.config.train.cpu_minutes is None else time.process_time


def _elapsed(run: Run) -> float:
    """Seconds of the stages that have finished, and of measuring steps before the first training."""
    measuring = Schedule.load(run.folder.schedule).measuring_seconds if run.folder.schedule.exists() else 0.0
    cpu = run.config.train.cpu_minutes is not None
    return measuring + sum(seconds for _, seconds in run.folder.stage_seconds(cpu))


def _reserve(seconds: float) -> float:
    return min(_RESERVE[0] * seconds, _RESERVE[1])


def seconds_per_step(run: Run) -> float:
    """Of training the supernet, measured now."""
    from pipeline.supernets.supernet import Supernet

    return _timed_step(run, Supernet(run.space), run.config.train.recipe)


def seconds_per_image(run: Run) -> float:
    """Of training one typical network inside the budget alone, measured now."""
    from pipeline.supernets.network import Network

    rows = run.problem.random(16, np.random.default_rng(run.config.seed))
    blocks = sorted((run.space.blocks(arch) for arch in run.codes.decode(rows)), key=total_macs)
    step = _timed_step(run, Network(blocks[3 * len(blocks) // 4]), "alone")
    return step / min(run.config.train.batch_size, len(run.dataset.train))


class _Enough(Exception):
    """So many steps tell how long one takes."""


def _timed_step(run: Run, model: "Supernet | Network", recipe: str) -> float:
    """Mean seconds of a training step of `model`, which is spoilt by it, after some that warm the machine up."""
    from pipeline.supernets.settings import TrainSettings
    from pipeline.supernets.training import train

    stamps: list[float] = []
    now = _clock(run)

    def told(done: int, total: int, what: str) -> None:
        stamps.append(now())
        enough = done > _WARM_STEPS + 1 and stamps[-1] - stamps[_WARM_STEPS - 1] > _TIMED_SHARE * _seconds(run)
        if done >= _WARM_STEPS + _TIMED_STEPS or enough:
            raise _Enough

    batch_size = min(run.config.train.batch_size, len(run.training_data))
    epochs = (_WARM_STEPS + _TIMED_STEPS) / (len(run.training_data) // batch_size)
    with contextlib.suppress(_Enough):
        train(model, run.training_data, TrainSettings(recipe=recipe, epochs=epochs, batch_size=batch_size), None, told)
    return (stamps[-1] - stamps[_WARM_STEPS - 1]) / (len(stamps) - _WARM_STEPS)


def _rounded(epochs: float) -> float:
    """Two digits are enough, and few enough to read."""
    return max(0.05, float(f"{epochs:.2g}"))
