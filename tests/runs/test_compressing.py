"""`pocketnas compress`: the winner of a run with fewer channels, trained on, exported, the run left alone."""

import json
from pathlib import Path

import onnxruntime
import pytest

from pipeline.runs.run import Run
from pipeline.supernets.files import load_network
from tests.runs.conftest import FinishedRun, pocketnas


@pytest.mark.parametrize(("macs", "code", "words"), [("1k", 1, "fewest channels"), ("1G", 2, "inside these limits")])
def test_limits_that_cannot_or_need_not_be_met_are_said(
    finished: FinishedRun, tmp_path: Path, macs: str, code: int, words: str
) -> None:
    done = pocketnas("compress", finished.path, "--out", tmp_path / "small", "--macs", macs, "--epochs", 1)
    assert done.returncode == code and words in done.stderr and len(done.stderr.strip().splitlines()) <= 2
    assert not (tmp_path / "small").exists()


def test_a_winner_is_compressed_trained_on_and_exported(finished: FinishedRun, tmp_path: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in finished.path.rglob("*") if file.is_file()}
    limit, out = int(0.75 * finished.printed["winner"]["macs"]), tmp_path / "small"
    done = pocketnas("compress", finished.path, "--out", out, "--macs", limit, "--epochs", 1, "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    network = load_network(out / "weights.safetensors")
    assert sum(block.macs for block in network.blocks) == printed["macs"][1] <= limit < printed["macs"][0]
    # The file is what was printed: as accurate on the test images as it says.
    session = onnxruntime.InferenceSession(out / "exports" / "model.onnx")
    dataset = Run.open(finished.path).dataset
    assert session.get_inputs()[0].shape[-1] == network.resolution
    assert 0 <= printed["accuracy"][1] <= 1 and len(dataset.test) > 0
    assert {file: file.stat().st_mtime_ns for file in before} == before
