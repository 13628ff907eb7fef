"""Budgets, baselines, metrics and records of runs that are damaged: read, or refused in one sentence."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.gate.baseline import read_baseline
from pipeline.gate.budget_file import load_budget
from pipeline.gate.run_folder import made_with
from pipeline.modelfiles.read import read_metrics

MUTATIONS = int(os.environ.get("POCKETNAS_MUTATIONS", "150"))
BUDGET = """latency_ms = {host = 20, "ssh://pi@board" = 30}
macs = "300M"
accuracy = 0.9
[levels]
macs = "warn"
[tolerance]
latency_ms = "3%"
size_mb = 0.05
[devices.phone]
table = "phone.json"
min_recognised = 0.9
[[models]]
path = "m*.onnx"
name = "m"
input_shapes = { image = [1, 3, 224, 224] }
ignore_operators = ["DFT"]
"""
BASELINE = """{"schema_version": 1, "created": "2026-11-01", "models": {"m.onnx": {"path": "m.onnx", "sha256": "00",
"macs": 3.0, "size_mb": 0.5, "predicted": {"phone": {"ms": 3.5, "table_sha256": "11"}}}}}"""
EXPORT = """{"exports": [{"format": "onnx", "precision": "fp32", "path": "m.onnx", "sha256": "00",
"parity": {"status": "passed", "reason": "", "accuracy_after": 0.9}, "tool_versions": {"onnx": "1"}}]}"""
SOURCES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "budget.toml": (BUDGET, load_budget),
    "baseline.json": (BASELINE, read_baseline),
    "metrics.json": ('{"accuracy": 0.91, "loss": 1e-3, "epochs": 12, "name": "x"}', read_metrics),
    "export.json": (EXPORT, lambda path: made_with(path.with_name("m.onnx"))),
}
PIECES = [
    "nan",
    "inf",
    "-1",
    "1e999",
    "true",
    "null",
    "[]",
    "{}",
    '"',
    "[" * 3000,
    "9" * 5000,
    "\x00",
    "\ud7ff",
    "\r",
    "=",
    "?x",
]


def mutated(text: str, rng: random.Random) -> bytes:
    """A word replaced, a piece put in, bytes cut or changed."""
    words = text.split(" ")
    match rng.randrange(4):
        case 0:
            words[rng.randrange(len(words))] = rng.choice([*PIECES, *words])
        case 1:
            words.insert(rng.randrange(len(words)), rng.choice(PIECES))
        case 2:
            del words[rng.randrange(len(words)) :]
        case _:
            data = bytearray(text.encode())
            for _ in range(rng.randrange(1, 5)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            return bytes(data)
    return " ".join(words).encode()


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_damaged_input_is_read_or_refused_in_words(tmp_path: Path, name: str) -> None:
    text, read = SOURCES[name]
    rng, path = random.Random(name), tmp_path / name
    (tmp_path / "m.onnx").write_bytes(b"model")
    path.write_text(text)
    read(path)  # as it is, it is fine
    slowest = 0.0
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(text, rng))
        began = time.process_time()
        try:
            read(path)
        except PipelineError as error:
            assert len(str(error)) < 1000
        slowest = max(slowest, time.process_time() - began)
    assert slowest < 5


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_pipe_is_no_input(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    (tmp_path / "m.onnx").write_bytes(b"model")
    if name == "export.json":
        assert made_with(tmp_path / "m.onnx") == {}
    else:
        with pytest.raises(PipelineError, match="is no regular file"):
            SOURCES[name][1](tmp_path / name)
