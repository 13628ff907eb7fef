"""What goes with a winner when it leaves the house, and what a page shows of its answers."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from latency_tables.files import sha256_of
from pipeline.foreign import markdown
from pipeline.runs.card import labels_text, render_card
from pipeline.runs.documents.base import RunError
from pipeline.runs.documents.finetune import AnswersFile
from pipeline.runs.documents.report import Summary
from pipeline.runs.report_answers import MOST_BYTES, _mistakes, winner_answers
from pipeline.runs.report_curves import training_curves
from pipeline.runs.report_data import report_data
from pipeline.runs.run import Run
from tests.runs.conftest import FinishedRun, pocketnas

HOSTILE = "a|b\n# [x](http://evil) <img src=x> \u202e`@user"


@pytest.fixture
def copied(finished: FinishedRun, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.path, tmp_path / "run"))


def test_answers_are_those_that_accuracy_was_counted_from(finished: FinishedRun) -> None:
    run = Run.open(finished.path)
    answers = winner_answers(run)
    assert answers is not None
    assert answers.confusion.sum() == len(run.dataset.test)
    assert np.trace(answers.confusion) / answers.confusion.sum() == pytest.approx(run.winner.accuracy)
    said = AnswersFile.load(run.folder.answers)
    wrong = [n for n, (a, b) in enumerate(zip(said.classes, run.dataset.test.labels, strict=True)) if a != b]
    surest = max(wrong, key=lambda n: said.probabilities[n])
    first = answers.mistakes[0]
    assert (first.name, first.probability) == (run.dataset.test_names[surest], said.probabilities[surest])
    assert first.truth == run.dataset.classes[run.dataset.test.labels[surest]] != first.answer


def test_pictures_of_mistakes_stay_small(finished: FinishedRun) -> None:
    dataset = Run.open(finished.path).dataset
    noise = np.random.default_rng(0).integers(0, 256, (40, 400, 400, 3), dtype=np.uint8)
    large = replace(dataset, test=replace(dataset.test, pixels=noise), seen_px=400)
    found = _mistakes(large, [*range(40), *range(40)], np.zeros(40, np.int64), [0.5] * 40)
    assert 5 < len(found) < 80 and sum(len(mistake.picture) for mistake in found) <= MOST_BYTES
    assert {mistake.media for mistake in found} == {"image/jpeg"}


def test_the_page_has_the_curves_of_every_training(copied: Path) -> None:
    run = Run.open(copied)
    curves = {curve.name: curve.points for curve in training_curves(run)}
    assert list(curves) == ["supernet", "region 0", "region 1", "winner alone"]
    for points in curves.values():
        assert points[-1].accuracy and all(point.loss and point.learning_rate for point in points)
    assert (curves["supernet"][-1].epoch, curves["winner alone"][-1].epoch) == (2, 2)
    for file in copied.rglob("*curve.jsonl"):  # an older run has the losses of every step alone
        file.unlink()
    (older,) = training_curves(run)
    losses = json.loads((copied / "supernet" / "losses.json").read_text())["losses"]
    assert [point.epoch for point in older.points] == [1, 2]
    assert older.points[1].loss == pytest.approx(np.mean(losses[len(losses) // 2 :]))


def test_the_winner_documents_itself(finished: FinishedRun) -> None:
    run = Run.open(finished.path)
    winner, card = run.folder.winner, run.folder.card.read_text()
    assert run.folder.labels.read_text().splitlines() == list(run.dataset.classes)
    rule = json.loads(run.folder.preprocessing.read_text())
    metadata = {p.key: p.value for p in onnx.load(run.folder.exports / "model.onnx").metadata_props}
    assert rule == {"schema_version": 1, **json.loads(metadata["preprocessing"])}
    assert rule["resize"]["square_px"] == run.dataset.size_px and rule["mean"] == list(run.dataset.mean)
    for told in (
        finished.printed["winner"]["arch"],
        f"{run.winner.accuracy:.2%}",
        "95 % confidence",
        f"Seed: {run.config.seed}",
        "None: random weights",
        f"Error of the latency table: {run.table.error.mape_percent:.1f} %" if run.table.error else "unknown",
        *(sha256_of(winner / name) for name in ("weights.safetensors", "winner.json", "labels.txt", "answers.json")),
        *(export["sha256"] for export in finished.printed["exports"] if export["path"]),
    ):
        assert told in card, told
    assert card.count("\n| 7 |") == 1  # one row a class
    assert str(finished.path) not in card  # nothing of where it was made


def test_names_of_classes_are_nothing_but_names(finished: FinishedRun) -> None:
    assert labels_text([HOSTILE, "b"]).count("\n") == 2
    run = Run.open(finished.path)
    summary = Summary.load(run.folder.summary)
    data = report_data(run, summary)
    assert data.answers is not None
    classes = (HOSTILE, *data.answers.classes[1:])
    card = render_card(run, replace(data, answers=replace(data.answers, classes=classes)), summary)
    (line,) = [line for line in card.splitlines() if "evil" in line]
    assert line.startswith(f"| {markdown(HOSTILE)} | ") and "<img" not in line and "\u202e" not in line


def test_a_run_of_an_older_version_gets_its_page_and_card(copied: Path) -> None:
    for gone in ("winner/answers.json", "data/test_names.json"):
        (copied / gone).unlink()
    for stage in ("finetune", "data"):
        record = copied / "stages" / f"{stage}.json"
        document = json.loads(record.read_text())
        document["outputs"] = {k: v for k, v in document["outputs"].items() if (copied / k).exists()}
        record.write_text(json.dumps(document))
    run = Run.open(copied)
    assert winner_answers(run) is None
    data = report_data(run, Summary.load(run.folder.summary))
    assert data.answers is None and data.networks is not None
    assert "Not kept by the version" in render_card(run, data, Summary.load(run.folder.summary))


def test_a_card_that_is_gone_is_written_again(copied: Path) -> None:
    before = (copied / "winner" / "README.md").read_text()
    (copied / "winner" / "README.md").unlink()
    done = pocketnas("report", copied, "--json")
    assert done.returncode == 0, done.stderr
    assert (copied / "winner" / "README.md").read_text() == before


def test_answers_of_other_images_are_refused(copied: Path) -> None:
    file = copied / "winner" / "answers.json"
    AnswersFile(classes=[0], probabilities=[1.0]).save(file)
    with pytest.raises(RunError, match="is not of the"):
        winner_answers(Run.open(copied))
