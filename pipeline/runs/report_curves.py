"""The curves of a run's trainings, from the files that the stages kept."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.report.data import Curve, CurvePoint
from pipeline.runs.curves import curve_path
from pipeline.runs.documents.finetune import TrainedNetwork
from pipeline.runs.documents.train import Losses
from pipeline.runs.run import Run


def training_curves(run: Run) -> tuple[Curve, ...]:
    """Of the supernet, its children and the winner by epoch; of older runs the supernet's loss alone, else none."""
    from pipeline.supernets.curve import read_curve

    curves = [
        Curve(name, tuple(CurvePoint(p.epoch, p.loss, p.learning_rate, p.accuracy) for p in read_curve(file)))
        for name, file in _files(run)
    ]
    if not any(curve.points for curve in curves):
        curves = [Curve("supernet", _loss_by_epoch(run))]
    return tuple(curve for curve in curves if curve.points)


def _files(run: Run) -> Iterator[tuple[str, Path]]:
    yield "supernet", run.folder.curve
    for number in range(len(run.partition.regions)):
        yield f"region {number}", run.folder.children / str(number) / "curve.jsonl"
    for record in sorted((run.folder.winner / "trained").glob("*.json")):
        if TrainedNetwork.load(record).arch == run.winner.arch:
            yield "winner alone", curve_path(record)


def _loss_by_epoch(run: Run) -> tuple[CurvePoint, ...]:
    file = run.folder.supernet / "losses.json"
    if not file.exists():
        return ()
    losses, images = Losses.load(file).losses, len(run.dataset.train)
    steps = max(1, images // min(run.config.train.batch_size, images))
    parts = [losses[start : start + steps] for start in range(0, len(losses), steps)]
    return tuple(CurvePoint(min(n, len(losses) / steps), sum(part) / len(part)) for n, part in enumerate(parts, 1))
