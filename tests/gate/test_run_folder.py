"""A run's folder at the gate: the ONNX file answers for everything, the other files for size and accuracy."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latency_tables.onnx_models import build_model
from latency_tables.store import save_table
from pipeline.cli.app import run_command
from tests.gate.conftest import FILES, TINY, made_table

Budget = Callable[[str], Path]


def export(path: str | None, format_: str, precision: str, status: str = "passed", accuracy: float | None = 0.95):  # type: ignore[no-untyped-def]
    parity = {"status": status, "reason": "no GPU here" if status == "not run" else "", "accuracy_after": accuracy}
    return {
        "format": format_, "precision": precision, "path": path, "parity": parity, "size_bytes": 1,
        "tool_versions": {"onnxruntime": "1.31.1"},
    }  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The files of a finished run that the gate reads."""
    folder = tmp_path / "run"
    for part in ("winner", "exports"):
        (folder / part).mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "winner" / "winner.json").write_text('{"accuracy": 0.96, "arch": "r16"}')
    (folder / "exports" / "model.onnx").write_bytes(build_model(TINY))
    shutil.copytree(FILES / "tiny.mlpackage", folder / "exports" / "model.mlpackage")
    (folder / "exports" / "model.engine").write_bytes(bytes(2_000_000))
    exports = [
        export("model.mlpackage", "coreml", "fp16", accuracy=0.94),
        export("model.onnx", "onnx", "fp32"),
        export("model.engine", "tensorrt", "fp16", "not run", None),
        export(None, "litert", "fp32", "not run", None),
    ]
    (folder / "exports" / "export.json").write_text(json.dumps({"exports": exports}))
    save_table(made_table(), folder / "table.json")
    return folder


def checks(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code = run_command(["check", "--json", *map(str, arguments)])
    captured = capsys.readouterr()
    assert captured.out, captured.err
    return code, json.loads(captured.out)


def test_each_file_is_judged_by_what_is_its_own(run: Path, budget: Budget, capsys: pytest.CaptureFixture[str]) -> None:
    limits = budget('latency_ms = 8\nmacs = "1M"\nparams = 4000\nsize_mb = 1\naccuracy = 0.94')
    code, document = checks(capsys, run, "--budget", limits)
    assert code == 1
    found = {(check["model"], check["name"]): check for check in document["checks"]}
    failed = [key for key, check in found.items() if not check["passed"]]
    assert failed == [("run/model.engine", "size_mb")]
    assert set(found) == {
        *(("run/model.onnx", name) for name in ("latency_ms", "macs", "params", "size_mb", "accuracy")),
        *(("run/model.mlpackage", name) for name in ("size_mb", "accuracy")),
        ("run/model.engine", "size_mb"),
    }
    assert found["run/model.onnx", "accuracy"]["actual"] == 0.96
    assert found["run/model.mlpackage", "accuracy"]["actual"] == 0.94
    latency = found["run/model.onnx", "latency_ms"]
    assert latency["actual"] == pytest.approx(7)
    assert latency["device"] == "board"
    assert "the model was made for onnxruntime 1.31.1, the table measured with 1.23.0" in latency["message"]
    assert document["notes"] == [
        "run/model.onnx: the file stores 2,950 parameters; as trained (with BatchNorm) it has 3,082",
        "run/model.engine: parity not run: no GPU here",
    ]


def test_a_baseline_of_a_run(run: Path, budget: Budget, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits, baseline = budget("latency_ms = 8\naccuracy = 0.9"), tmp_path / "baseline.json"
    assert checks(capsys, run, "--budget", limits, "--baseline", baseline, "--update-baseline")[0] == 0
    assert checks(capsys, run, "--budget", limits, "--baseline", baseline)[0] == 0
    (run / "winner" / "winner.json").write_text('{"accuracy": 0.95}')
    code, document = checks(capsys, run, "--budget", limits, "--baseline", baseline)
    assert code == 1
    failed = [check for check in document["checks"] if not check["passed"]]
    assert [(check["model"], check["name"]) for check in failed] == [("run/model.onnx", "accuracy vs baseline")]
    assert "0.96 became 0.95 (-1.04 %)" in failed[0]["message"]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda run: (run / "winner" / "winner.json").unlink(), "is not finished: 'pocketnas finetune"),
        (lambda run: (run / "exports" / "export.json").unlink(), "is not finished: 'pocketnas export"),
        (lambda run: (run / "exports" / "export.json").write_text('{"exp'), "export.json is corrupt or foreign"),
        (lambda run: (run / "exports" / "export.json").write_text('{"exports": []}'), "has no fp32 ONNX file"),
        (lambda run: (run / "exports" / "model.engine").unlink(), "model.engine is gone"),
        (lambda run: (run / "table.json").write_text("{}"), "table.json: device is missing"),
    ],
)
def test_an_unfinished_or_damaged_run_ends_with_2(
    run: Path,
    budget: Budget,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    says: str,
) -> None:
    damage(run)
    assert run_command(["check", str(run), "--budget", str(budget("size_mb = 1"))]) == 2
    assert says in capsys.readouterr().err
