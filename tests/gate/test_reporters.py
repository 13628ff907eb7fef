"""One list of results, five ways to read it."""

from xml.etree import ElementTree

import pytest
from rich.console import Console

from pipeline.gate.reporters import annotations, junit, markdown, terminal, verdict
from pipeline.gate.results import CheckResult, Level, Report, Status
from pipeline.gate.units import amount, change

HOSTILE = 'a|b <img src=x> & "c" ::error::d\n100 % _x_ [l](http://e) \x07 [bold]'


def result(status: Status, level: Level = "error", message: str = "said", model: str = "m.onnx") -> CheckResult:
    return CheckResult(
        name="latency_ms", expected=20.0, operator="<=", actual=21.0, level=level, status=status, message=message,
        model=model, device="pixel", source="predicted by table p",
    )  # fmt: skip


def report(*results: CheckResult) -> Report:
    return Report(results, ("a note",))


@pytest.mark.parametrize(
    ("results", "passed", "code"),
    [
        ([result("passed")], True, 0),
        ([result("passed"), result("failed", "warn"), result("undecided", "warn")], True, 0),
        ([result("failed")], False, 1),
        ([result("undecided")], False, 3),
        ([result("undecided"), result("failed")], False, 1),
        ([result("undecided"), result("failed", "warn")], False, 3),
    ],
)
def test_the_exit_code_follows_the_worst_result(results: list[CheckResult], passed: bool, code: int) -> None:
    assert (Report(tuple(results)).passed, Report(tuple(results)).exit_code) == (passed, code)


def test_junit_counts_what_blocks() -> None:
    text = junit(report(result("passed"), result("failed"), result("failed", "warn"), result("undecided")))
    suite = ElementTree.fromstring(text.encode())[0]
    assert dict(suite.attrib) == {"name": "pocketnas check", "tests": "4", "failures": "1", "errors": "1"}
    assert [[child.tag for child in case] for case in suite] == [
        ["system-out"],
        ["failure", "system-out"],
        ["system-out"],
        ["error", "system-out"],
    ]
    assert suite[0].get("classname") == "m.onnx"
    assert suite[0].get("name") == "latency_ms (pixel, predicted)"


def test_junit_survives_any_text() -> None:
    case = ElementTree.fromstring(junit(report(result("failed", message=HOSTILE, model=HOSTILE))).encode())[0][0]
    assert "<img src=x>" in (case[0].get("message") or "")


def test_markdown_is_one_table_whatever_the_text() -> None:
    text = markdown(report(result("passed"), result("failed", message=HOSTILE)))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert all(row.replace("\\|", "").count("|") == 7 for row in rows)
    assert "<img" not in text and "[l](" not in text
    assert text.startswith("### ❌ pocketnas check not passed: 1 passed, 1 failed")
    assert text.endswith("- a note\n")


def test_annotations_are_one_line_each_and_cannot_be_forged() -> None:
    results = (result("passed"), result("failed", message=HOSTILE), result("failed", "warn"))
    lines = annotations(report(*results)).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning"]
    assert "\\n100 %25" in lines[0]
    assert lines[0].split("::")[1] == "error title=m.onnx%3A latency_ms (pixel%2C predicted)"


def test_the_terminal_shows_every_result() -> None:
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    results = (result("passed"), result("failed", message=HOSTILE), result("undecided", "warn"))
    console.print(terminal(report(*results)))
    text = console.export_text()
    for word in ("passed", "FAILED", "cannot decide (warns)", "pixel, predicted", "[bold]"):
        assert word in text


def test_the_verdict_counts_warnings() -> None:
    found = verdict(report(result("passed"), result("failed", "warn")))
    assert found == "passed: 1 passed, 1 failed (1 of them only warn)"


@pytest.mark.parametrize(
    ("metric", "value", "beside", "text"),
    [
        ("latency_ms", 12.3456, None, "12.35 ms"),
        ("size_mb", 10.00001, 10.0, "10.00001 MB"),
        ("macs", 300_000_001, 300_000_000, "300.000001M MACs"),
        ("params", 3082, None, "3.082k parameters"),
        ("accuracy", 0.9, 0.9, "0.9"),
    ],
)
def test_rounding_never_hides_a_difference(metric: str, value: float, beside: float | None, text: str) -> None:
    assert amount(metric, value, beside) == text


@pytest.mark.parametrize(("share", "text"), [(0.05, "5.00 %"), (0.000001, "0.000100 %"), (0, "0.00 %")])
def test_changes_in_percent(share: float, text: str) -> None:
    assert change(share) == text
