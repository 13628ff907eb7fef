"""Spaces and budgets that leave hardly any choice: a whole run still ends, and says what it could not compare."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.app import run_command

SPACE = """
schema_version = 1
name = "fixed"
resolutions = [16]
classes = 10
stem = {{ channels = 8, kernel = 3, stride = 2, activation = "relu" }}
head = {{ channels = 32, activation = "relu" }}

[[stages]]
widths = [12]
depths = [1]
kernels = {kernels}
expands = [3]
stride = 2
activation = "relu"
"""
CONFIG = """
[data]
path = "digits"
limit = 100
flip = false
[space]
name = "{folder}/space.toml"
[device]
effort = "quick"
networks = 8
[train]
epochs = 1
[split]
regions = {regions}
epochs = 1
[search]
evaluations = 12
images = 50
[finetune]
candidates = 1
epochs = 1
[export]
formats = ["onnx"]
"""


@pytest.mark.parametrize(("kernels", "networks"), [("[3]", 1), ("[3, 5]", 2)])
def test_a_run_with_nothing_to_choose_simply_works(
    kernels: str, networks: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "space.toml").write_text(SPACE.format(kernels=kernels))
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=tmp_path, regions=networks))
    code = run_command(["run", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run"), "--json"])
    told = capsys.readouterr()
    assert code == 0, told.err
    printed: dict[str, Any] = json.loads(told.out)
    assert sum(region["size"] for region in printed["regions"]) == networks
    assert printed["search"]["evaluations"] == networks and printed["check"]["passed"]
    assert printed["random_baseline"]["n"] == 0 and printed["random_baseline"]["mean_accuracy"] is None
    notes, training = told.err.index("will not be compared with random ones"), told.err.index("train supernet")
    assert notes < training
    assert (tmp_path / "run" / "exports" / "model.onnx").is_file()
    assert run_command(["run", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run")]) == 0
    assert "not compared" in capsys.readouterr().out
