"""A run in MLflow: its configuration as parameters, its events as metrics, its documents and files as artifacts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import PipelineError
from pipeline.runs.config_file import config_hash
from pipeline.runs.run import Run
from pipeline.tracking.scalars import scalars

if TYPE_CHECKING:
    from mlflow import MlflowClient

_IDENTITY: Final = "pocketnas.run"
_COUNT: Final = "pocketnas.events"
_MOST_METRICS: Final = 1000  # a call, MLflow's own limit
_MOST_PARAMS: Final = 100
_LONGEST_PARAM: Final = 500
_STATUS: Final = {"finished": "FINISHED", "stopped": "KILLED"}


def to_mlflow(run: Run, uri: str, experiment: str) -> str:
    """Bring the MLflow run of this run up to date at `uri`, a folder, an SQLite file or a server; returns its number.

    What is there already is not logged again, so it may be called while the run is at work and after it.
    Raises PipelineError where mlflow is not installed, or `uri` cannot be used.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise PipelineError("--mlflow needs mlflow, which is not installed: pip install mlflow-skinny") from None
    try:
        client = MlflowClient(tracking_uri=uri)
        return _logged(run, client, _experiment(client, experiment))
    except MlflowException as error:
        raise PipelineError(f"--mlflow {uri!r} cannot be used: {error.message}") from None


def _experiment(client: "MlflowClient", name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)


def _logged(run: Run, client: "MlflowClient", experiment: str) -> str:
    from mlflow.entities import Metric, Param

    identity = f"{run.path.resolve()} {config_hash(run.folder.document)}"
    known = client.search_runs([experiment], f"tags.`{_IDENTITY}` = '{_quoted(identity)}'", max_results=1)
    if known:
        number, count = str(known[0].info.run_id), int(known[0].data.tags.get(_COUNT, 0))
    else:
        made = client.create_run(experiment, run_name=run.path.resolve().name, tags={_IDENTITY: _quoted(identity)})
        number, count = str(made.info.run_id), 0
        params = [Param(key, value[:_LONGEST_PARAM]) for key, value in _params(run.folder.document)]
        for some in _chunks(params, _MOST_PARAMS):
            client.log_batch(number, params=some)
    events = run.events.read()
    every = list(scalars(events))
    # Numbers are made of all events, since some count what came before them; those that are there are left out.
    new = every[len(list(scalars(events[:count]))) :]
    metrics = [Metric(one.name, one.value, round(1000 * one.seconds), one.step) for one in new]
    for some in _chunks(metrics, _MOST_METRICS):
        client.log_batch(number, metrics=some)
    client.set_tag(number, _COUNT, len(events))
    ended = run.ended
    if ended == "finished":
        _files(run, client, number)
    if ended is None:
        client.update_run(number, status="RUNNING")
    else:
        client.set_terminated(number, _STATUS[ended])
    return number


def _files(run: Run, client: "MlflowClient", number: str) -> None:
    folder = run.folder
    for file in (folder.report, folder.summary, folder.check, folder.candidates, folder.curve, folder.winner_file):
        if file.is_file():
            client.log_artifact(number, str(file))
    if folder.exports.is_dir():
        client.log_artifacts(number, str(folder.exports), artifact_path="exports")
    client.set_tag(number, "pocketnas.arch", run.winner.arch)


def _params(document: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _params(value, f"{before}{key}.")
        elif value is not None:
            yield f"{before}{key}", str(value)


def _chunks(items: list[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _quoted(text: str) -> str:
    """Fit for a filter of MLflow, which has no escapes."""
    return "".join(c if c.isalnum() or c in "/._- " else "_" for c in text)


def local_folder(uri: str) -> str:
    """`uri`, or the address of the folder that it names."""
    return uri if ":" in uri else Path(uri).resolve().as_uri()
