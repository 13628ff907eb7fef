"""A run in trackers: which numbers its events become, and real local stores of MLflow and TensorBoard."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.cli.app import run_command
from pipeline.runs.begin import create_or_open
from pipeline.runs.config_file import parse_config
from pipeline.runs.events import Event
from pipeline.runs.run import Run
from pipeline.tracking.scalars import Scalar, scalars

NOW = datetime(2026, 11, 28, 6, 0, tzinfo=UTC)
POINT = {"part": "supernet", "epoch": 1.0, "step": 6, "loss": 9.2, "learning_rate": 0.03, "images_per_second": None}
TOLD: list[tuple[str, str, dict[str, object]]] = [
    ("stage_started", "train", {"continued": False}),
    ("training", "train", {**POINT, "accuracy": None}),
    ("training", "train", {**POINT, "step": 12, "loss": 8.0, "accuracy": {"largest": 0.5}}),
    ("stage_finished", "train", {"seconds": 6.5, "cpu_seconds": 1.5}),
    ("stage_started", "search", {"continued": False}),
    ("trial", "search", {"number": 0, "arch": "a", "score": -2.0, "costs": {"macs": 900}}),
    ("trial", "search", {"number": 1, "arch": "b", "score": -3.0, "costs": {"macs": 800}}),
    ("finalist", "finetune", {"name": "candidate-1", "role": "candidate", "search_accuracy": 0.8, "epochs": 2}),
    ("finalist", "finetune", {"name": "random-1", "role": "random", "search_accuracy": 0.7, "epochs": 2}),
    ("tested", "finetune", {"name": "random-1", "role": "random", "test_accuracy": 0.75}),
    ("winner", "finetune", {"name": "candidate-1", "arch": "a", "accuracy": 0.8, "macs": 900, "params": 10}),
    ("check", "check", {"passed": True, "failed": []}),
    ("of a newer version", "check", {"passed": 1}),
    ("trial", "search", {"number": "many", "score": "high", "costs": [1]}),
]  # fmt: skip
NUMBERS = [
    ("train/supernet/loss", 9.2, 6),
    ("train/supernet/learning_rate", 0.03, 6),
    ("train/supernet/loss", 8.0, 12),
    ("train/supernet/learning_rate", 0.03, 12),
    ("train/supernet/accuracy/largest", 0.5, 12),
    ("seconds/train", 6.5, 0),
    ("search/score", -2.0, 0),
    ("search/best_score", -2.0, 0),
    ("search/macs", 900.0, 0),
    ("search/score", -3.0, 1),
    ("search/best_score", -2.0, 1),
    ("search/macs", 800.0, 1),
    ("finetune/search_accuracy", 0.8, 1),
    ("finetune/search_accuracy", 0.7, 2),
    ("finetune/test_accuracy", 0.75, 2),
    ("winner/accuracy", 0.8, 0),
    ("winner/macs", 900.0, 0),
    ("winner/params", 10.0, 0),
    ("check/passed", 1.0, 0),
]


def events() -> list[Event]:
    return [Event.model_validate({"time": NOW, "event": e, "stage": s, **facts}) for e, s, facts in TOLD]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    with create_or_open(tmp_path / "run", parse_config({"data": {"path": "digits"}}, "test")) as folder:
        run = Run(folder)
    for event, stage, facts in TOLD:
        run.events.tell(event, stage, **facts)
    return run


def test_events_become_numbers_and_what_is_not_known_none() -> None:
    assert list(scalars(events())) == [Scalar(name, value, step, NOW.timestamp()) for name, value, step in NUMBERS]


@pytest.mark.parametrize("store", ["sqlite:///{folder}/runs.db", "{folder}/mlruns"])
def test_a_local_mlflow_store_gets_each_number_once(
    store: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed: pip install mlflow-skinny")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 asks for it
    store = store.format(folder=tmp_path)
    command = ["track", str(run.path), "--mlflow", store, "--json"]
    assert run_command(command) == 0
    number = json.loads(capsys.readouterr().out)["mlflow_run"]
    run.events.tell("trial", "search", number=2, arch="c", score=-1.0, costs={"macs": 700})
    for _ in range(2):
        assert run_command(command) == 0
        assert json.loads(capsys.readouterr().out)["mlflow_run"] == number
    client = mlflow.MlflowClient(tracking_uri=store if ":" in store else Path(store).as_uri())
    history = [(point.step, point.value) for point in client.get_metric_history(number, "search/best_score")]
    assert sorted(history) == [(0, -2.0), (1, -2.0), (2, -1.0)]
    found = client.get_run(number)
    assert found.data.params["train.epochs"] == str(run.config.train.epochs)
    assert found.data.metrics["winner/accuracy"] == 0.8
    assert found.info.status == "RUNNING"
    run.events.tell("stage_stopped", "search", reason="interrupted")
    assert run_command(command) == 0
    assert client.get_run(number).info.status == "KILLED"


def test_tensorboards_own_files_hold_each_number_once(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        assert run_command(["track", str(run.path), "--tensorboard", str(tmp_path / "board")]) == 0
    (file,) = (tmp_path / "board").iterdir()
    board = EventAccumulator(str(file))
    board.Reload()
    assert set(board.Tags()["scalars"]) == {name for name, _, _ in NUMBERS}
    assert [(point.step, point.value) for point in board.Scalars("train/supernet/loss")] == [
        (6, pytest.approx(9.2)),
        (12, pytest.approx(8.0)),
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--mlflow URI, --tensorboard FOLDER"),
        (["--tensorboard", "{run}/run.json"], "is a file"),
        (["--mlflow", "gopher://nowhere"], "--mlflow"),
    ],
)
def test_a_tracker_that_cannot_be_used_is_one_line(
    words: list[str], told: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["track", str(run.path), *(word.format(run=run.path) for word in words)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and ("not installed" in error or told in error)
