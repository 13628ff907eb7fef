"""A run whose device computes in int8: what is limited, chosen, exported and checked is the int8 file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from pipeline.errors import PipelineError
from pipeline.runs.config import ConfigError
from pipeline.runs.config_file import parse_config
from pipeline.runs.folder import open_run
from pipeline.runs.quantised import require_simulation
from pipeline.runs.run import Run
from pipeline.runs.specialise import Wish, specialised
from pipeline.runs.winner import load_winner
from pipeline.supernets.aware import is_available
from tests.runs.conftest import TINY, pocketnas


@pytest.fixture(scope="module")
def int8_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A whole small run on this machine's CPU in int8: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("int8")
    config = TINY.format(table='precision = "int8"').replace('["onnx", "coreml"]', '["onnx-int8"]')
    config = config.replace("regions = 2", "regions = 1").replace("labels = 10", "labels = 0")
    config = config.replace("[finetune]", "[finetune]\nquantisation_aware = false")
    (folder / "config.toml").write_text(config)
    done = pocketnas("run", folder / "config.toml", "--out", folder / "run", "--json")
    assert done.returncode == 0, done.stderr
    return folder / "run", json.loads(done.stdout)


def test_the_printed_accuracy_is_the_int8_file_s(int8_run: tuple[Path, dict[str, Any]]) -> None:
    path, printed = int8_run
    (export,) = printed["exports"]
    assert (export["format"], export["precision"], export["parity"]["status"]) == ("onnx-int8", "int8", "passed")
    winner = load_winner(Run.open(path))
    session = onnxruntime.InferenceSession(path / "exports" / export["path"])
    answers = [session.run(None, {"image": image[None]})[0].argmax() for image in winner.test_images]
    right = float(np.mean(np.array(answers) == winner.test_labels))
    assert printed["winner"]["precision"] == "int8"
    # The judged file takes any batch size; rounding may differ in an image.
    assert printed["winner"]["accuracy"] == pytest.approx(right, abs=1.5 / len(answers))
    assert printed["winner"]["accuracy"] == pytest.approx(export["parity"]["accuracy_after"], abs=1.5 / len(answers))
    assert printed["winner"]["quantisation"]["fp32_accuracy"] == export["parity"]["accuracy_before"]


def test_the_winner_is_the_best_by_what_int8_files_score(int8_run: tuple[Path, dict[str, Any]]) -> None:
    path, printed = int8_run
    trained = Run.open(path).winner.trained
    scores = {entry.arch: entry.search_accuracy for entry in trained}
    assert scores[printed["winner"]["arch"]] == max(scores.values())
    for entry in trained:
        assert entry.quantisation is not None and entry.quantisation.int8 == entry.search_accuracy
    assert any(entry.quantisation and entry.quantisation.int8 != entry.quantisation.fp32 for entry in trained)
    assert not list(path.rglob("*.int8.onnx"))


def test_the_gate_predicts_the_int8_file_from_the_run_s_int8_table(
    int8_run: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    path, printed = int8_run
    latency = printed["winner"]["latency_ms"]
    assert json.loads((path / "table.json").read_text())["device"]["precision"] == "int8"
    assert latency["predicted"] <= printed["budget"]["latency_ms"] and latency["measured"] > 0
    (tmp_path / "budget.toml").write_text("latency_ms = 1000\naccuracy = 0.01\n")
    done = pocketnas("check", path, "--budget", tmp_path / "budget.toml", "--json")
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["latency_ms"]["actual"] == pytest.approx(latency["predicted"])
    assert found["accuracy"]["actual"] == printed["winner"]["accuracy"]
    assert "quantisation" in (path / "report.html").read_text()


def document(device: dict[str, Any], formats: list[str] | None) -> dict[str, Any]:
    export = {} if formats is None else {"export": {"formats": formats}}
    return {"data": {"path": "digits"}, "device": device, **export}


@pytest.mark.parametrize(
    ("device", "formats", "needed"),
    [
        ({"precision": "int8"}, ["onnx"], "'onnx-int8', which"),
        ({"precision": "fp16"}, ["onnx-int8"], "'onnx-fp16', which"),
        ({}, ["onnx-int8"], "'onnx', which"),
        ({"table": "mine.json"}, ["coreml"], "'onnx' or 'onnx-fp16' or 'onnx-int8', which"),
    ],
)
def test_formats_must_have_the_file_that_is_deployed(device: dict[str, Any], formats: list[str], needed: str) -> None:
    with pytest.raises(ConfigError, match=needed):
        parse_config(document(device, formats), "run.toml")


def test_without_formats_or_with_a_table_of_any_precision_a_configuration_is_accepted() -> None:
    for device, formats in (({"precision": "int8"}, None), ({"table": "mine.json"}, ["onnx-int8", "coreml-int8"])):
        assert parse_config(document(device, formats), "run.toml").export.formats == formats


def test_a_run_specialised_for_another_precision_can_be_opened_again(int8_run: tuple[Path, dict[str, Any]]) -> None:
    """Its files must have the one that is deployed, though the run that it specialises did not ask for it."""
    config = specialised(open_run(int8_run[0]), Wish(precision="fp16"))
    assert config.export.formats == ["onnx-fp16", "onnx-int8"]
    assert parse_config(config.model_dump(mode="json", exclude_none=True), "run.json").device.precision == "fp16"


@pytest.mark.skipif(is_available(), reason="torchao is installed")
def test_simulation_that_is_asked_for_needs_its_library() -> None:
    config = parse_config({"data": {"path": "digits"}, "finetune": {"quantisation_aware": True}}, "run.toml")
    with pytest.raises(PipelineError, match=r"quantisation_aware = true.*pip install 'pocketnas\[qat\]'"):
        require_simulation(config)
