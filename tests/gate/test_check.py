"""`pocketnas check` as a CI calls it: models and files in, verdict and exit code out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latency_tables.blocks import Block, total_macs
from latency_tables.onnx_models import build_model
from latency_tables.store import save_table
from pipeline.cli.app import run_command
from pipeline.modelfiles.read import sha256_of
from tests.gate.conftest import FILES, TINY, made_table

Budget = Callable[[str], Path]


class Checked:
    """The outcome of one command: its exit code, its document (where there is one), and what stderr said."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> None:
        self.code = run_command(["check", "--json", *map(str, arguments)])
        captured = capsys.readouterr()
        self.document: dict[str, Any] = json.loads(captured.out) if captured.out else {}
        self.error = captured.err
        self.by_name = {check["name"]: check for check in self.document.get("checks", [])}


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Callable[..., Checked]:
    return lambda *arguments: Checked(capsys, *arguments)


def test_inside_every_limit(check: Callable[..., Checked], tiny: Path, table: Path, budget: Budget) -> None:
    found = check(tiny, "--budget", budget('latency_ms = 8\nmacs = "1M"\nparams = 4000\nsize_mb = 1'), "--table", table)
    assert found.code == 0
    assert found.document["passed"] is True
    assert {name: c["passed"] for name, c in found.by_name.items()} == dict.fromkeys(
        ("latency_ms", "macs", "params", "size_mb"), True
    )
    latency = found.by_name["latency_ms"]
    assert latency["actual"] == pytest.approx(7)  # seven blocks of 1 ms
    assert latency["interval"] == pytest.approx([6.65, 7.35])
    assert latency["source"].startswith("predicted by table board")
    assert found.by_name["macs"]["actual"] == total_macs(TINY)
    assert set(latency) >= {"name", "expected", "operator", "actual", "level", "passed", "message"}


@pytest.mark.parametrize(
    ("limit", "name", "says"),
    [
        ("latency_ms = 6.5", "latency_ms", "7.69 % above the limit"),
        ("macs = 71327", "macs", "71.328k MACs"),
        ("params = 2949", "params", "2.95k"),
        ("size_mb = 0.001", "size_mb", "above the limit"),
    ],
)
def test_one_violated_limit_ends_with_1(
    check: Callable[..., Checked], tiny: Path, table: Path, budget: Budget, limit: str, name: str, says: str
) -> None:
    found = check(tiny, "--budget", budget(limit), "--table", table)
    assert (found.code, found.document["passed"]) == (1, False)
    assert found.by_name[name]["status"] == "failed"
    assert says in found.by_name[name]["message"]


def test_a_limit_is_met_at_its_very_value(check: Callable[..., Checked], tiny: Path, budget: Budget) -> None:
    assert check(tiny, "--budget", budget(f"macs = {total_macs(TINY)}\nparams = 2950")).code == 0


def test_a_warning_is_told_and_does_not_block(check: Callable[..., Checked], tiny: Path, budget: Budget) -> None:
    found = check(tiny, "--budget", budget('size_mb = 0.001\n[levels]\nsize_mb = "warn"'))
    assert (found.code, found.document["passed"]) == (0, True)
    assert (found.by_name["size_mb"]["passed"], found.by_name["size_mb"]["level"]) == (False, "warn")


def test_an_unknown_accuracy_fails_and_a_metrics_file_tells_it(
    check: Callable[..., Checked], tiny: Path, budget: Budget, tmp_path: Path
) -> None:
    found = check(tiny, "--budget", budget("accuracy = 0.9"))
    assert (found.code, found.by_name["accuracy"]["actual"]) == (1, None)
    assert "metrics" in found.by_name["accuracy"]["message"]
    (tmp_path / "metrics.json").write_text('{"accuracy": 0.91}')
    text = 'accuracy = 0.9\n[[models]]\npath = "tiny.onnx"\nmetrics = "metrics.json"'
    assert check(tiny, "--budget", budget(text)).code == 0
    (tmp_path / "metrics.json").write_text('{"accuracy": 0.89}')
    assert check("--budget", budget(text)).code == 1


def test_a_metrics_file_without_the_metric_is_named(
    check: Callable[..., Checked], tiny: Path, budget: Budget, tmp_path: Path
) -> None:
    (tmp_path / "metrics.json").write_text('{"accurcy": 0.91}')
    found = check("--budget", budget('accuracy = 0.9\n[[models]]\npath = "tiny.onnx"\nmetrics = "metrics.json"'))
    assert found.code == 1
    assert 'metrics.json has no "accuracy"' in found.by_name["accuracy"]["message"]


def test_a_pattern_that_no_shell_resolved_names_its_models(
    check: Callable[..., Checked], tiny: Path, bigger: Path, budget: Budget
) -> None:
    found = check(tiny.parent / "*.onnx", "--budget", budget("macs = 1000000"))
    assert {entry["model"] for entry in found.document["checks"]} == {tiny.name, bigger.name}
    assert check(tiny.parent / "*.tflite", "--budget", budget("macs = 1000000")).code == 2


def test_a_device_that_nothing_asks_about_is_told(
    check: Callable[..., Checked], tiny: Path, table: Path, budget: Budget
) -> None:
    found = check(tiny, "--budget", budget("macs = 1000000"), "--table", table)
    assert found.code == 0
    assert any("board.json is not used: no latency_ms" in note for note in found.document["notes"])
    text = 'latency_ms = {fast = 9}\n[devices.fast]\ntable = "board.json"\n[devices.slow]\nurl = "host"'
    assert check(tiny, "--budget", budget(text)).document["notes"] == [
        "[devices.slow] is not used: no latency_ms is about it"
    ]


def test_versions_come_from_the_export_record_beside_the_file(
    check: Callable[..., Checked], tiny: Path, table: Path, budget: Budget
) -> None:
    entry = {
        "format": "onnx", "precision": "fp32", "path": tiny.name, "sha256": sha256_of(tiny),
        "parity": {"status": "passed", "reason": "", "accuracy_after": None}, "tool_versions": {"onnxruntime": "9.9"},
    }  # fmt: skip
    record = tiny.with_name("export.json")
    record.write_text(json.dumps({"exports": [entry]}))
    message = check(tiny, "--budget", budget("latency_ms = 9"), "--table", table).by_name["latency_ms"]["message"]
    assert "made for onnxruntime 9.9, the table measured with" in message
    record.write_text('{"another": "tool"}')
    message = check(tiny, "--budget", budget("latency_ms = 9"), "--table", table).by_name["latency_ms"]["message"]
    assert "made for" not in message


def test_several_models_and_devices(
    check: Callable[..., Checked], tiny: Path, bigger: Path, table: Path, budget: Budget, tmp_path: Path
) -> None:
    save_table(made_table(ms=2.0), tmp_path / "slow.json")
    text = (
        'latency_ms = {fast = 7.5, slow = 14.5}\n[devices.fast]\ntable = "board.json"\n[devices.slow]\n'
        'table = "slow.json"\n[[models]]\npath = "*.onnx"\n'
    )
    found = check("--budget", budget(text))
    verdicts = {(c["model"], c["device"]): c["passed"] for c in found.document["checks"]}
    assert found.code == 1
    assert verdicts == {
        ("tiny.onnx", "fast"): True,
        ("tiny.onnx", "slow"): True,
        ("bigger.onnx", "fast"): False,
        ("bigger.onnx", "slow"): False,
    }


def test_latency_is_measured_here_where_nothing_else_is_said(
    check: Callable[..., Checked], tiny: Path, budget: Budget
) -> None:
    fast, slow = budget("latency_ms = 10000"), budget
    found = check(tiny, "--budget", fast)
    assert found.code == 0
    assert found.by_name["latency_ms"]["source"].startswith("measured on this machine")
    low, high = found.by_name["latency_ms"]["interval"]
    assert 0 < low <= found.by_name["latency_ms"]["actual"] <= high
    assert check(tiny, "--budget", slow("latency_ms = 0.000001")).code == 1


@pytest.mark.parametrize(
    ("name", "says"),
    [("tiny.mlpackage", "latency of a Core ML model is not measurable"), ("tiny.tflite", "latency of a TFLite file")],
)
def test_a_format_that_cannot_run_here_is_no_pass(
    check: Callable[..., Checked], budget: Budget, name: str, says: str
) -> None:
    found = check(FILES / name, "--budget", budget('latency_ms = 10000\nmacs = "1M"'))
    assert (found.code, found.document["passed"]) == (3, False)
    assert found.by_name["macs"]["passed"] is True
    assert says in found.by_name["latency_ms"]["message"]
    assert found.by_name["latency_ms"]["status"] == "undecided"


# -- predictions that cannot be trusted ---------------------------------------------------------------------


def test_missing_rows_are_no_prediction(
    check: Callable[..., Checked], tiny: Path, budget: Budget, tmp_path: Path
) -> None:
    save_table(made_table(TINY[:4]), tmp_path / "some.json")
    found = check(tiny, "--budget", budget("latency_ms = 100"), "--table", tmp_path / "some.json")
    assert found.code == 3
    assert "lacks 3 of its 7 distinct blocks" in found.by_name["latency_ms"]["message"]


def test_a_table_of_another_precision_is_no_prediction(
    check: Callable[..., Checked], tiny: Path, budget: Budget, tmp_path: Path
) -> None:
    save_table(made_table(precision="int8"), tmp_path / "int8.json")
    found = check(tiny, "--budget", budget("latency_ms = 100"), "--table", tmp_path / "int8.json")
    assert found.code == 3
    assert "computes in fp32, the table was measured in int8" in found.by_name["latency_ms"]["message"]


def test_an_int8_file_is_predicted_from_an_int8_table(
    check: Callable[..., Checked], budget: Budget, tmp_path: Path
) -> None:
    save_table(made_table(precision="int8"), tmp_path / "int8.json")
    (tmp_path / "quantised.onnx").write_bytes(build_model(TINY, precision="int8"))
    found = check(
        tmp_path / "quantised.onnx", "--budget", budget("latency_ms = 7.5"), "--table", tmp_path / "int8.json"
    )
    assert (found.code, found.by_name["latency_ms"]["actual"]) == (0, pytest.approx(len(TINY)))


def test_an_old_table_and_one_without_error_are_told(
    check: Callable[..., Checked], tiny: Path, budget: Budget, tmp_path: Path
) -> None:
    save_table(made_table(created="2020-01-01T00:00:00Z", error=False), tmp_path / "old.json")
    found = check(tiny, "--budget", budget("latency_ms = 100"), "--table", tmp_path / "old.json")
    assert found.code == 0
    message = found.by_name["latency_ms"]["message"]
    assert "days ago" in message and "error was never measured" in message


def foreign_model(path: Path, extra: int) -> Path:
    """TINY's first blocks, then `extra` channels of a convolution that is no block (1 x 3)."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(build_model(TINY[:4]))
    model.graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [extra, 24, 1, 3], [0.1] * 72 * extra))
    model.graph.node.append(helper.make_node("Conv", ["output", "w"], ["wide"], pads=[0, 1, 0, 1]))
    del model.graph.output[:]
    model.graph.output.append(helper.make_empty_tensor_value_info("wide"))
    onnx.save(model, path)
    return path


def test_a_foreign_graph_is_predicted_in_proportion_or_refused(
    check: Callable[..., Checked], table: Path, budget: Budget, tmp_path: Path
) -> None:
    share = total_macs(TINY[:4]) / (total_macs(TINY[:4]) + 16 * 72)
    model = foreign_model(tmp_path / "foreign.onnx", 1)
    found = check(model, "--budget", budget("latency_ms = 100"), "--table", table)
    assert found.code == 0
    assert found.by_name["latency_ms"]["actual"] == pytest.approx(4 / share)
    assert "98.4% of the MACs" in found.by_name["latency_ms"]["message"]
    stranger = foreign_model(tmp_path / "stranger.onnx", 40)
    refused = check(stranger, "--budget", budget("latency_ms = 100"), "--table", table)
    assert refused.code == 3
    assert "of its MACs were recognised" in refused.by_name["latency_ms"]["message"]


def test_uncounted_operators_pass_no_macs_limit(check: Callable[..., Checked], budget: Budget, tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    model = onnx.load_from_string(build_model(TINY))
    model.graph.node.append(helper.make_node("Strange", ["output"], ["y"], domain="my.own"))
    del model.graph.output[:]
    model.graph.output.append(helper.make_empty_tensor_value_info("y"))
    onnx.save(model, tmp_path / "einsum.onnx")
    found = check(tmp_path / "einsum.onnx", "--budget", budget('macs = "1M"'))
    assert (found.code, found.by_name["macs"]["status"]) == (3, "undecided")
    assert "1 my.own.Strange" in found.by_name["macs"]["message"]
    too_many = check(tmp_path / "einsum.onnx", "--budget", budget("macs = 1000"))
    assert too_many.code == 1  # what is known is already too much
    free = budget('macs = "1M"\n[[models]]\npath = "einsum.onnx"\nignore_operators = ["my.own.Strange"]')
    assert check("--budget", free).code == 0


# -- baselines ----------------------------------------------------------------------------------------------


def test_a_baseline_is_written_on_purpose_only(
    check: Callable[..., Checked], tiny: Path, table: Path, budget: Budget, tmp_path: Path
) -> None:
    limits, baseline = budget('latency_ms = 8\nmacs = "1M"\nsize_mb = 1'), tmp_path / "baseline.json"
    arguments = (tiny, "--budget", limits, "--table", table, "--baseline", baseline)
    missing = check(*arguments)
    assert missing.code == 2
    assert "--update-baseline" in missing.error
    assert not baseline.exists()
    assert check(*arguments, "--update-baseline").code == 0
    before = baseline.read_bytes()
    found = check(*arguments)
    assert found.code == 0
    assert found.by_name["latency_ms vs baseline"]["actual"] == 0
    assert baseline.read_bytes() == before


def test_a_model_that_grew_fails_against_its_baseline(
    check: Callable[..., Checked], tiny: Path, bigger: Path, table: Path, budget: Budget, tmp_path: Path
) -> None:
    limits, baseline = 'latency_ms = 9\nmacs = "1M"\n', tmp_path / "baseline.json"
    model = tmp_path / "model.onnx"
    shutil.copy(tiny, model)
    arguments = ("--table", table, "--baseline", baseline)
    check(model, "--budget", budget(limits), *arguments, "--update-baseline")
    shutil.copy(bigger, model)
    found = check(model, "--budget", budget(limits), *arguments)
    assert found.code == 1
    assert found.by_name["latency_ms"]["passed"] and not found.by_name["latency_ms vs baseline"]["passed"]
    assert found.by_name["latency_ms vs baseline"]["actual"] == pytest.approx(1 / 7)
    assert "+14.29 %" in found.by_name["latency_ms vs baseline"]["message"]
    allowed = limits + '[tolerance]\nlatency_ms = "15%"\nmacs = "60%"\n'
    assert check(model, "--budget", budget(allowed), *arguments).code == 0


def test_a_metric_missing_from_the_baseline_fails(
    check: Callable[..., Checked], tiny: Path, budget: Budget, tmp_path: Path
) -> None:
    baseline = tmp_path / "baseline.json"
    check(tiny, "--budget", budget('macs = "1M"'), "--baseline", baseline, "--update-baseline")
    document = json.loads(baseline.read_text())
    del document["models"]["tiny.onnx"]["macs"]
    baseline.write_text(json.dumps(document))
    found = check(tiny, "--budget", budget('macs = "1M"'), "--baseline", baseline)
    assert found.code == 1
    assert "baseline has no macs of this model" in found.by_name["macs vs baseline"]["message"]
    other = tmp_path / "other.onnx"
    shutil.copy(tiny, other)
    new = check(other, "--budget", budget('macs = "1M"'), "--baseline", baseline)
    assert (new.code, new.by_name["macs vs baseline"]["actual"]) == (0, None)
    assert "new: the baseline does not have it; only its limits hold" in new.by_name["macs vs baseline"]["message"]
    assert check(other, "--budget", budget("macs = 1000"), "--baseline", baseline).code == 1


def test_a_baseline_by_another_table_is_not_compared(
    check: Callable[..., Checked], tiny: Path, table: Path, budget: Budget, tmp_path: Path
) -> None:
    baseline, limits = tmp_path / "baseline.json", budget("latency_ms = 50")
    arguments = (tiny, "--budget", limits, "--table", table, "--baseline", baseline)
    check(*arguments, "--update-baseline")
    entry = json.loads(baseline.read_text())["models"]["tiny.onnx"]
    assert entry["path"] == "tiny.onnx"
    save_table(made_table(ms=2.0), table)
    # The old model is still there, so both are predicted by the new table.
    assert check(*arguments).by_name["latency_ms vs baseline"]["actual"] == 0
    tiny.write_bytes(build_model(TINY, seed=1))
    found = check(*arguments)
    assert found.code == 1
    assert "another version of table" in found.by_name["latency_ms vs baseline"]["message"]


def test_measured_milliseconds_of_different_runs_are_not_compared(
    check: Callable[..., Checked], tiny: Path, budget: Budget, tmp_path: Path
) -> None:
    baseline, limits = tmp_path / "baseline.json", budget("latency_ms = 10000")
    check(tiny, "--budget", limits, "--baseline", baseline, "--update-baseline")
    tiny.write_bytes(build_model(TINY, seed=1))
    found = check(tiny, "--budget", limits, "--baseline", baseline)
    assert found.code == 3
    assert "milliseconds of different runs are not compared" in found.by_name["latency_ms vs baseline"]["message"]


def test_a_baseline_model_is_measured_in_turn(check: Callable[..., Checked], tmp_path: Path, budget: Budget) -> None:
    block = Block("mbconv", 14, 24, 24, 3, 1, 72, 0, "relu", True)
    for name, count in (("old.onnx", 4), ("new.onnx", 8)):
        (tmp_path / name).write_bytes(build_model([block] * count))
    limits = budget('latency_ms = 10000\n[tolerance]\nmacs = "300%"\nlatency_ms = "30%"')
    found = check(tmp_path / "new.onnx", "--budget", limits, "--baseline", tmp_path / "old.onnx")
    change = found.by_name["latency_ms vs baseline"]
    assert (found.code, change["status"]) == (1, "failed")
    assert change["interval"][0] > 0.3
    same = check(tmp_path / "old.onnx", "--budget", limits, "--baseline", tmp_path / "old.onnx")
    assert (same.code, same.by_name["latency_ms vs baseline"]["passed"]) == (0, True)


def test_too_few_rounds_say_what_would_settle_it(check: Callable[..., Checked], tiny: Path, budget: Budget) -> None:
    """12 rounds cannot decide whether a model is slower than itself by more than nothing."""
    limits = budget('latency_ms = 10000\n[tolerance]\nlatency_ms = "0%"')
    found = check(tiny, "--budget", limits, "--baseline", tiny, "--rounds", 12)
    change = found.by_name["latency_ms vs baseline"]
    assert (found.code, change["status"], change["passed"]) == (3, "undecided", False)
    assert "cannot decide: about" in change["message"] and "would settle it" in change["message"]


# -- wrong use ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--budget is missing"),
        (("tiny.onnx",), "--budget is missing"),
        (("--budget", "none.toml"), "no budget file 'none.toml'"),
        (("--budget", "budget.toml"), "no model to check"),
        (("none.onnx", "--budget", "budget.toml"), "no model 'none.onnx'"),
        (("tiny.onnx", "--budget", "budget.toml", "--table", "none"), "no latency table 'none'"),
        (("tiny.onnx", "--budget", "budget.toml", "--device", "ftp://x"), "device 'ftp://x' cannot be measured"),
        (("tiny.onnx", "--budget", "budget.toml", "--update-baseline"), "--baseline"),
        (("tiny.onnx", "tiny.onnx", "--budget", "budget.toml"), "two models are called"),
        (("tiny.onnx", "--budget", "budget.toml", "--baseline", "torn.json"), "torn.json is no baseline file"),
    ],
)
def test_wrong_use_ends_with_2_and_one_line(
    check: Callable[..., Checked],
    tiny: Path,
    budget: Budget,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    budget("latency_ms = 20")
    monkeypatch.chdir(tiny.parent)
    Path("torn.json").write_text('{"schema_version": 1, "mod')
    found = check(*arguments)
    assert found.code == 2
    assert found.document == {}
    assert says in found.error
    assert "Traceback" not in found.error


def test_a_pattern_that_matches_nothing_is_no_pass(check: Callable[..., Checked], budget: Budget) -> None:
    found = check("--budget", budget('size_mb = 1\n[[models]]\npath = "exports/*.onnx"'))
    assert found.code == 2
    assert "no model matches" in found.error


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", "--schema"]) == 0
    assert "latency_ms" in json.loads(capsys.readouterr().out)["properties"]


def test_reports_are_written(
    check: Callable[..., Checked], tiny: Path, budget: Budget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (tmp_path / "summary.md").write_text("before\n")
    outputs = ("--junit", tmp_path / "j.xml", "--markdown", tmp_path / "m.md", "--github")
    found = check(tiny, "--budget", budget("size_mb = 0.001"), *outputs)
    assert found.code == 1
    assert 'failures="1"' in (tmp_path / "j.xml").read_text()
    assert (tmp_path / "summary.md").read_text() == "before\n" + (tmp_path / "m.md").read_text()
    assert "::error title=" in found.error
