"""`pocketnas rank RUN`: the truth is what stage `finetune` would find, it is trained once, and nothing else changes."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from latency_tables.files import sha256_of
from pipeline.cli.app import run_command
from pipeline.ranking.statistics import Bootstrap
from pipeline.runs.folder import open_run
from pipeline.runs.ranking import RunRanking
from pipeline.runs.run import Run
from pipeline.runs.truth import Truth
from tests.runs.conftest import FinishedRun


@pytest.fixture(scope="module")
def ranked(finished: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run."""
    copy = tmp_path_factory.mktemp("ranked") / "run"
    shutil.copytree(finished.path, copy)
    return copy


def _answer(capsys: pytest.CaptureFixture[str], run: Path, count: int) -> tuple[dict[str, Any], str]:
    assert run_command(["rank", str(run), "--truth", str(count), "--resamples", "50", "--json"]) == 0
    said = capsys.readouterr()
    return json.loads(said.out), said.err


def _files(run: Path) -> dict[str, str]:
    files = (file for file in run.rglob("*") if file.is_file() and "truth" not in file.parts)
    return {str(file): sha256_of(file) for file in files}


def _lines(run: Path, name: str) -> list[dict[str, Any]]:
    (file,) = (run / "truth").glob(f"*/{name}")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_report_of_a_run(ranked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = _files(ranked)
    document, said = _answer(capsys, ranked, 12)
    assert "12 random networks inside the budget" in said and "on this machine" in said
    assert set(document) == {"inherited score", "ranker", "checkpoint before", "macs", "params"}
    assert {entry["n"] for entry in document.values()} == {12}
    for entry in document.values():
        assert {"kendall_tau", "ci95", "best_in_top_10", "size", "option_residuals", "minus"} <= entry.keys()
        assert [len(one["dropped"]) for one in entry["pruning"]] == sorted(
            len(one["dropped"]) for one in entry["pruning"]
        )
        assert all(0 <= one["kept_of_best_tenth"] <= 1 for one in entry["pruning"])
    assert document["macs"]["stability"] is None
    assert set(document["inherited score"]["stability"]) == {"tau_between_image_halves", "tau_with_checkpoint_before"}
    assert -1 <= document["ranker"]["stability"]["tau_between_image_halves"] <= 1
    assert _files(ranked) == before
    # What stage finetune trained has the accuracy that it found there, and the scores are the run's own.
    (table,) = (ranked / "truth").glob("*/networks.csv")
    rows = {row["arch"]: row for row in csv.DictReader(table.open())}
    trained = {entry.arch: entry for entry in Run.open(ranked).winner.trained if entry.arch in rows}
    assert len(trained) >= 8 and f"{len(trained)} of them there" in said
    for arch, entry in trained.items():
        assert float(rows[arch]["test accuracy"]) == entry.test_accuracy
        assert float(rows[arch]["inherited score"]) == pytest.approx(entry.scores["inherited score"], abs=1e-4)
    # The table can be asked in other ways.
    other = ["rank", str(table), "--truth", "test accuracy", "--proxy", "macs", "--resamples", "50", "--json"]
    assert run_command(other) == 0
    assert json.loads(capsys.readouterr().out)["macs"]["kendall_tau"] == document["macs"]["kendall_tau"]


def test_more_networks_add_to_those_that_are_there(ranked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also after an interruption; none is trained or judged twice."""
    fewer, _ = _answer(capsys, ranked, 12)
    stopped = Truth(Run.open(ranked), 14)
    assert len(stopped.missing) == 2

    def interrupt(done: int, total: int, what: str) -> None:
        if done > 13 * total / 14:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.train(interrupt)
    assert len(stopped.missing) == 1
    more, said = _answer(capsys, ranked, 14)
    assert "13 of them there" in said
    for name in ("networks.jsonl", "scores.jsonl", "before.jsonl"):
        archs = [line["arch"] for line in _lines(ranked, name)]
        assert len(archs) == len(set(archs)) == 14
    assert not list((ranked / "truth").rglob("*.checkpoint*"))
    assert (fewer["macs"]["n"], more["macs"]["n"]) == (12, 14)
    again, said = _answer(capsys, ranked, 12)
    assert again == fewer and "no time" in said
    _enough_networks_weigh_the_ranker(ranked)


def _enough_networks_weigh_the_ranker(ranked: Path) -> None:
    """One without labels, as the default is."""
    folder = open_run(ranked)
    search = folder.config.search.model_copy(update={"labels": 0})
    run = Run(replace(folder, config=folder.config.model_copy(update={"search": search})))
    truth = Truth(run, 20)
    truth.train(_silent)
    _, _, document = RunRanking(run, truth).report(Bootstrap(20), _silent)
    assert document["weighed ranker"]["n"] == 20
    assert document["ranker"]["weights"]["used"] == (0.5, 0.5, 1.0)
    assert sum(document["ranker"]["weights"]["by_truth"]) > 0


def _silent(done: int, total: int, what: str) -> None:
    """Nobody is told."""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--truth", "7"], "--truth 7 networks: accepted are 8 to 1000"),
        (["--truth", "accuracy"], "how many networks to train to the end, 8 to 1000"),
        (["--truth", "8", "--proxy", "macs"], "--proxy names a column of a file"),
    ],
)
def test_what_a_run_is_not_asked(
    ranked: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run_command(["rank", str(ranked), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_run_whose_search_has_not_finished(tmp_path: Path, ranked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["rank", str(tmp_path), "--truth", "8"]) == 2
    assert "is no run" in capsys.readouterr().err
    begun = tmp_path / "begun"
    shutil.copytree(ranked, begun)
    (begun / "stages" / "search.json").unlink()
    assert run_command(["rank", str(begun), "--truth", "8"]) == 2
    assert "stage 'finetune' needs 'search', which has not finished" in capsys.readouterr().err
    assert run_command(["rank", str(begun), "--truth", "nan"]) == 2
