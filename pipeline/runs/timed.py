"""Runs that end in time: `[train] minutes` is shared out among the stages by what a step takes on this machine.

With `cpu_minutes` every second below is one of CPU time, so that other work on the machine changes nothing.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from latency_tables.blocks import Block, total_macs
from pipeline.runs.documents.train import Schedule
from pipeline.runs.folder import STAGE_NAMES
from pipeline.runs.run import JUDGING_BATCHNORM_IMAGES, Run
from pipeline.search.settings import relaxing

if TYPE_CHECKING:
    from pipeline.supernets.network import Network
    from pipeline.supernets.supernet import Supernet

_LAST_CPU_SECONDS: Final = 20.0  # of export, measuring the winner, check and report
_MOST_RESERVED: Final = 0.4  # of the time
_UNLIMITED: Final = 120.0  # seconds that a share is of where nothing limits the run
_LEAST_LEFT: Final = 0.05  # of the time, for training, whatever the rest takes
_STRETCHES: Final = (1.0, 12.0)  # wall over CPU time: what is believed of it
_SHARES: Final = {True: (0.3, 0.15), False: (0.55, 0.1)}  # by published start: supernet, judging; the rest is alone
_WARM_STEPS: Final = 3
_TIMED_STEPS: Final = 10
_TIMED_SHARE: Final = 0.03  # of the time, for measuring each of the two kinds of step, warming up included
_FEWEST_EVALUATIONS: Final = 8
_PROPOSAL_SECONDS: Final = 0.05  # of each evaluation, beside judging
_PACES: Final = (0.8, 8.0)  # what is believed of a pace


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


def affordable_evaluations(run: Run) -> int:
    """How many networks the search judges: as scheduled, or what the time allows after the supernet has been trained.

    The same whenever it is asked for during that stage.
    """
    plan = scheduled(run)
    if not run.config.train.limited or run.folder.home("train") != run.path:
        return plan.evaluations
    training, judging = _SHARES[run.config.train.start != "none"]
    seconds = judging / (1 - training) * remaining(run, before="search")
    return _evaluations(run, seconds, plan.seconds_per_image * pace(run))


def pace(run: Run) -> float:
    """How many times longer than measured beforehand the training of the supernet has taken; 1 before it."""
    record = run.folder.record("train")
    if run.folder.home("train") != run.path or record is None or not record.finished:
        return 1.0
    plan, images = scheduled(run), len(run.dataset.train)
    steps = max(1.0, plan.train_epochs * max(1, images // min(run.config.train.batch_size, images)))
    cpu = run.config.train.cpu_minutes is not None
    spent = (record.cpu_seconds if cpu else record.seconds) or 0.0
    return float(np.clip(spent / (steps * plan.seconds_per_step), *_PACES))


def schedule_lines(run: Run, schedule: Schedule) -> tuple[str, ...]:
    """The plan for people."""
    cpu = run.config.train.cpu_minutes
    minutes, used = _seconds(run) / 60, _elapsed(run) / 60
    ranked = "the ranker" if schedule.rank_by == "ranker" else "inherited scores"
    unit = "minutes of CPU time" if cpu else "minutes"
    short = remaining(run, before="train") <= _LEAST_LEFT * 60 * minutes
    least = (
        "too little time: reading, measuring and exporting alone take about as long here; training gets the least",
    )
    return (
        *(least if short else ()),
        f"{minutes:g} {unit}, {used:.1f} of them used: {schedule.train_epochs + schedule.split_epochs:.1f} epochs of"
        f" the supernet ({schedule.seconds_per_step:.2f} s a step), {schedule.evaluations} evaluations by {ranked},"
        " then networks alone in what is left",
    )


def _fitted(run: Run, seconds: float) -> Schedule:
    now = clock(run)
    began = now()
    per_step, per_image = seconds_per_step(run), seconds_per_image(run)
    measuring = run.spent_before + now() - began
    left = max(
        _LEAST_LEFT * seconds, seconds - _elapsed(run, before="train") - measuring - _reserve(run, before="train")
    )
    training, judging = _SHARES[run.config.train.start != "none"]
    if relaxing(run.config.search.method):
        training /= 2  # the relaxation takes the other half
    images = len(run.dataset.train)
    an_epoch = per_step * max(1, images // min(run.config.train.batch_size, images))
    epochs = training * left / an_epoch
    return Schedule(
        train_epochs=rounded(epochs / run.config.split.regions if run.config.split.regions > 1 else epochs),
        split_epochs=0.0 if run.config.split.regions == 1 else rounded(epochs / (2 * run.config.split.regions)),
        rank_by="score",
        evaluations=_evaluations(run, judging * left, per_image),
        private=0,
        measuring_seconds=round(measuring, 3),
        seconds_per_step=round(per_step, 4),
        seconds_per_image=round(per_image, 6),
        timed_macs=total_macs(_typical(run)),
    )


def remaining(run: Run, before: str | None = None) -> float:
    """Seconds that a run with minutes has left for training and judging, not less than a twentieth of them.

    When the stage `before` began; by default now.
    """
    seconds = _seconds(run)
    return max(_LEAST_LEFT * seconds, seconds - _elapsed(run, before) - _reserve(run, before))


def clock(run: Run) -> Callable[[], float]:
    """What the run's time is read from."""
    return time.perf_counter if run.config.train.cpu_minutes is None else time.process_time


def _evaluations(run: Run, seconds: float, image_seconds: float) -> int:
    """Judging is a forward pass, a third of a training step, over the images that judge and those of BatchNorm."""
    images, most = run.config.search.images, run.config.search.evaluations
    judged = min(images, len(run.dataset.search)) + min(images, JUDGING_BATCHNORM_IMAGES, len(run.dataset.train))
    return int(np.clip(seconds / (judged * image_seconds / 3 + _PROPOSAL_SECONDS), _FEWEST_EVALUATIONS, most))


def _seconds(run: Run) -> float:
    """The time that the run has: wall time, or CPU time of all threads."""
    return 60 * (run.config.train.minutes or run.config.train.cpu_minutes or 0.0)


def _elapsed(run: Run, before: str | None = None) -> float:
    """Seconds of what came before the stages, of those that have finished, and of measuring steps.

    With `before`, only of the stages before that one.
    """
    file, own = run.folder.schedule, run.folder.home("train") == run.path
    measuring = Schedule.load(file).measuring_seconds if own and file.exists() else 0.0
    return measuring + sum(seconds for _, seconds in _stages(run, before, run.config.train.cpu_minutes is not None))


def _stages(run: Run, before: str | None, cpu: bool) -> list[tuple[str, float]]:
    counted = STAGE_NAMES[: STAGE_NAMES.index(before)] if before else STAGE_NAMES
    return [(stage, seconds) for stage, seconds in run.folder.stage_seconds(cpu) if stage in counted]


def _reserve(run: Run, before: str | None) -> float:
    """Seconds kept for the last stages: on a machine with other work they take as much longer as the first ones did."""
    if run.config.train.cpu_minutes is not None:
        return min(_LAST_CPU_SECONDS, _MOST_RESERVED * _seconds(run))
    cpu = dict(_stages(run, before, cpu=True))
    stretches = [wall / cpu[stage] for stage, wall in _stages(run, before, cpu=False) if cpu.get(stage, 0.0) > 1]
    stretch = float(np.clip(max(stretches, default=1.0), *_STRETCHES))
    return min(_LAST_CPU_SECONDS * stretch, _MOST_RESERVED * _seconds(run))


def seconds_per_step(run: Run) -> float:
    """Of training the supernet, measured now."""
    from pipeline.supernets.supernet import Supernet

    return _timed_step(run, Supernet(run.space), run.config.train.recipe)


def seconds_per_image(run: Run) -> float:
    """Of training one typical network inside the budget alone, measured now."""
    from pipeline.supernets.network import Network

    step = _timed_step(run, Network(_typical(run)), "alone")
    return step / min(run.config.train.batch_size, len(run.dataset.train))


def _typical(run: Run) -> Sequence[Block]:
    """A network inside the budget that three quarters of random ones do not exceed in MACs."""
    rows = run.feasible.random(16, np.random.default_rng(run.config.seed))
    blocks = sorted((run.space.blocks(arch) for arch in run.codes.decode(rows)), key=total_macs)
    return blocks[3 * len(blocks) // 4]


class _Enough(Exception):
    """So many steps tell how long one takes."""


def _timed_step(run: Run, model: "Supernet | Network", recipe: str) -> float:
    """Mean seconds of a training step of `model`, which is spoilt by it, after some that warm the machine up."""
    from pipeline.supernets.settings import TrainSettings
    from pipeline.supernets.training import train

    now = clock(run)
    stamps = [now()]

    def told(done: int, total: int, what: str) -> None:
        stamps.append(now())
        enough = done > 1 and stamps[-1] - stamps[0] > _TIMED_SHARE * (_seconds(run) or _UNLIMITED)
        if done >= _WARM_STEPS + _TIMED_STEPS or enough:
            raise _Enough

    batch_size = min(run.config.train.batch_size, len(run.training_data))
    epochs = (_WARM_STEPS + _TIMED_STEPS) / (len(run.training_data) // batch_size)
    with contextlib.suppress(_Enough):
        train(model, run.training_data, TrainSettings(recipe=recipe, epochs=epochs, batch_size=batch_size), None, told)
    warm = min(_WARM_STEPS, len(stamps) - 2)
    return (stamps[-1] - stamps[warm]) / (len(stamps) - 1 - warm)


def rounded(epochs: float) -> float:
    """Two digits are enough, and few enough to read."""
    return max(0.05, float(f"{epochs:.2g}"))
