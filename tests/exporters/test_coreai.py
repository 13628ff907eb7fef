"""Core AI assets that are damaged or made up: the native runtime crashes on them, in a process of its own."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from exporters import CannotRun, ExportError, WrongInput, open_file
from pipeline.cli.app import run_command
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.read import read_model
from tests.exporters.conftest import Exported, available
from tests.modelfiles.test_hostile import mutated

PIXELS = np.zeros((2, 16, 16, 3), np.uint8)
MUTATIONS = 8


@pytest.fixture
def asset(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if not available("coreai"):
        pytest.skip("coreai is not installed")
    exported: Exported = request.getfixturevalue("exported")
    return Path(shutil.copytree(exported.folder / "model.aimodel", tmp_path / "model.aimodel"))


def test_damaged_programs_end_in_one_line(asset: Path) -> None:
    program, rng, refused = asset / "main.mlirb", random.Random(0), 0
    whole = program.read_bytes()
    for _ in range(MUTATIONS):
        program.write_bytes(mutated(whole, rng))
        try:
            open_file(asset).run(PIXELS)
        except ExportError as error:
            refused += 1
            assert str(error).isprintable()
        try:
            read_model(asset)
        except ModelFileError as error:
            assert str(error).isprintable()
    assert refused > MUTATIONS / 2


def test_predict_and_check_outlive_a_crash_of_the_runtime(
    asset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = asset / "main.mlirb"
    program.write_bytes(program.read_bytes()[:2000])
    budget = tmp_path / "budget.toml"
    budget.write_text('macs = "1G"\n')
    for arguments in (["predict", str(asset), "x.png"], ["check", str(asset), "--budget", str(budget)]):
        assert run_command(arguments) in (2, 3)
        told = capsys.readouterr().err
        assert "model.aimodel" in told and told.count("\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"creatorDefinedMetadata": []}',
        "[" * 100_000,
        '{"creatorDefinedMetadata": {"preprocessing": 3}}',
    ],
)
def test_damaged_metadata_is_told(asset: Path, text: str) -> None:
    (asset / "metadata.json").write_text(text)
    with pytest.raises(ExportError, match=r"model\.aimodel") as caught:
        open_file(asset)
    assert str(caught.value).isprintable()


def test_metadata_and_program_that_contradict_each_other(asset: Path) -> None:
    document = json.loads((asset / "metadata.json").read_text())
    own = document["creatorDefinedMetadata"]
    own["preprocessing"] = json.dumps({**json.loads(own["preprocessing"]), "height": 8})
    (asset / "metadata.json").write_text(json.dumps(document))
    with pytest.raises(WrongInput, match="takes images of shape"):
        open_file(asset).run(np.zeros((1, 8, 16, 3), np.uint8))


def test_what_is_no_asset(asset: Path) -> None:
    (asset / "main.mlirb").unlink()
    with pytest.raises(CannotRun, match=r"there is no main\.mlirb"):
        open_file(asset)
