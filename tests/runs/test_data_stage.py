"""The data stage knows when the pictures that it read are no longer those that are there."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from pipeline.runs.begin import create_or_open
from pipeline.runs.config_file import parse_config
from pipeline.runs.documents.base import RunError
from pipeline.runs.engine import require_finished, run_stage
from pipeline.runs.images import normalised
from pipeline.runs.run import Run
from pipeline.runs.stages import STAGES
from pipeline.runs.summary import data_lines
from tests.data.trees import make_tree, picture

DATA = STAGES[0]


def _silent(done: int, total: int, what: str) -> None:
    pass


@pytest.fixture
def run(tmp_path: Path) -> Run:
    root = make_tree(tmp_path / "photos", {"a": 8, "b": 8}, ["notes.txt"])
    config = parse_config({"data": {"path": str(root)}, "space": {"name": "quickstart", "resolutions": [16]}}, "test")
    with create_or_open(tmp_path / "run", config) as folder:
        run = Run(folder)
        run_stage(run, DATA, _silent)
        return run


def test_pictures_that_were_added_are_not_ignored(run: Run, tmp_path: Path) -> None:
    assert not run_stage(run, DATA, _silent).ran_now
    (tmp_path / "photos" / "a" / "new.png").write_bytes(picture("new"))
    for again in (lambda: run_stage(run, DATA, _silent), lambda: require_finished(run.folder, STAGES, "profile")):
        with pytest.raises(RunError, match=r"the pictures at '.*photos' \(files were added"):
            again()
    assert run_stage(run, DATA, _silent, renew=True).ran_now
    assert data_lines(run)[0].startswith("images: 17 used of 18 files")


def test_a_run_needs_its_pictures_only_once(run: Run, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "photos")
    assert not run_stage(run, DATA, _silent).ran_now


def test_the_account_stands_in_the_summary_of_the_data(run: Run) -> None:
    told = json.loads((run.folder.data / "data.json").read_text())["inventory"]
    assert told["found"] == 17 and told["left_out"][0] == {
        "reason": ".txt is no picture",
        "count": 1,
        "first": ["notes.txt"],
    }


@pytest.mark.parametrize(("side", "kept"), [(60, 18), (18, 18), (17, 16), (8, 16)])
def test_pictures_are_kept_larger_than_networks_see_them_where_they_are(tmp_path: Path, side: int, kept: int) -> None:
    root = tmp_path / "photos"
    for label in "ab":
        (root / label).mkdir(parents=True)
        for index in range(8):
            (root / label / f"{index}.png").write_bytes(picture(f"{label}{index}", (side + 9, side)))
    config = parse_config({"data": {"path": str(root)}, "space": {"name": "quickstart", "resolutions": [16]}}, "test")
    with create_or_open(tmp_path / "run", config) as folder:
        run = Run(folder)
        run_stage(run, DATA, _silent)
        assert run.dataset.train.pixels.shape[1:] == (kept, kept, 3)
        assert run.training_data.training_batch(torch.arange(4), torch.Generator())[0].shape == (4, 3, 16, 16)
        assert normalised(run.dataset.test, run.dataset, None, 0)[0].shape[1:] == (3, 16, 16)
