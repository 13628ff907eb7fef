"""`pocketnas track`: a run in MLflow or TensorBoard, while it is at work or afterwards."""

import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from pipeline.cli.options import Json, RunDir
from pipeline.cli.output import emit
from pipeline.errors import PipelineError

_POLL_SECONDS: Final = 5.0


def track(
    run_dir: RunDir,
    mlflow: Annotated[
        str | None,
        typer.Option("--mlflow", metavar="URI", help="MLflow's store: sqlite:///runs.db, http://… or a folder."),
    ] = None,
    experiment: Annotated[str, typer.Option("--experiment", help="MLflow's experiment.")] = "pocketnas",
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", metavar="FOLDER", help="Folder for 'tensorboard --logdir'.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Hand the events of a run to MLflow or TensorBoard; once more hands over what is new.

    The run is only read. Other trackers read events.jsonl, one JSON document a line.
    """
    from pipeline.runs.run import Run
    from pipeline.tracking.mlflow import local_folder, to_mlflow
    from pipeline.tracking.tensorboard import to_tensorboard

    if mlflow is None and tensorboard is None:
        raise PipelineError("say where to: --mlflow URI, --tensorboard FOLDER, or both")
    run = Run.open(run_dir)
    document: dict[str, Any] = {"run": str(run.path)}
    while True:
        ended = not follow or run.ended is not None
        events = run.events.read()
        document["events"] = len(events)
        if mlflow is not None:
            document["mlflow_run"] = to_mlflow(run, local_folder(mlflow), experiment)
        if tensorboard is not None:
            document["scalars"] = to_tensorboard(run, tensorboard)
        if ended:
            break
        time.sleep(_POLL_SECONDS)

    def show(console: Console) -> None:
        told = [f"{document['events']} events"]
        if mlflow is not None:
            told.append(f"MLflow run {document['mlflow_run']} of experiment {experiment!r}")
        if tensorboard is not None:
            told.append(f"{document['scalars']} scalars: tensorboard --logdir {tensorboard}")
        console.print("; ".join(told), highlight=False, markup=False, soft_wrap=True)

    emit(document, as_json, show)
