"""Numbers of a table file that would decide wrongly are refused where they are read, or where they are added up."""

import json
from pathlib import Path
from typing import Any

import pytest

from latency_tables.errors import TableError
from latency_tables.journal import Entry, Header, open_journal
from latency_tables.store import load_table, table_text
from latency_tables.table import DeviceInfo, LatencyTable, parse_table
from pipeline.budget import Budget
from pipeline.errors import PipelineError
from pipeline.search.costs import space_costs
from pipeline.spaces.files import load_space


@pytest.fixture(scope="module")
def text() -> str:
    return table_text(load_table("epyc-vm-quickstart"))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("calibration", "fixed_ms"), "-1e10"),
        (("calibration", "fixed_ms"), "NaN"),
        (("calibration", "terms", "mean_factor"), "Infinity"),
        (("error", "residual_high"), "NaN"),
        (("error", "residual_high"), "Infinity"),
        (("error", "residual_high"), "1e308"),
        (("error", "residual_low"), "-2"),
        (("error", "residual_low"), "0.9"),
        (("error", "spearman"), "1.5"),
        (("error", "mape_percent"), "-1"),
        (("provenance", "drift_percent"), "NaN"),
        (("rows", None, "median_ms"), "1e308"),
        (("rows", None, "network_ms"), "-0.1"),
    ],
)
def test_a_number_out_of_range_is_named(place: tuple[str | None, ...], value: str, text: str) -> None:
    document: Any = json.loads(text)
    entry = document
    for key in place[:-1]:
        entry = entry[key or next(iter(entry))]
    entry[place[-1]] = "HERE"
    with pytest.raises(TableError, match=r"table\.json is not a latency table: .*"):
        parse_table(json.dumps(document).replace('"HERE"', value), "table.json")


def _with_fixed(text: str, fixed_ms: float) -> LatencyTable:
    table = parse_table(text, "table.json")
    return table.model_copy(update={"calibration": table.calibration.model_copy(update={"fixed_ms": fixed_ms})})


def test_a_network_that_takes_less_than_nothing_is_no_prediction(text: str) -> None:
    table, space = _with_fixed(text, -1e6), load_space("quickstart")
    with pytest.raises(TableError, match=r"predicts -1e\+06 ms"):
        table.predict(space.blocks(space.max()))
    with pytest.raises(PipelineError, match=r"latency_ms predicts -1e\+06 ms"):
        space_costs(space, Budget(), {"here": table})


@pytest.mark.parametrize("session_ms", ["[]", "[0.0]", "[-1]", "[NaN]", "[1e300]"])
def test_a_timing_of_no_time_is_no_entry(session_ms: str) -> None:
    with pytest.raises(ValueError, match=r"session_ms|no milliseconds"):
        Entry.model_validate_json(f'{{"kind": "timing", "visit": 0, "name": "a", "session_ms": {session_ms}}}')


def test_two_measurements_into_one_file_are_refused(tmp_path: Path) -> None:
    header = Header(plan="the plan", device=DeviceInfo(name="board", runtime="onnxruntime"))
    first = open_journal(tmp_path / "journal", header)
    with pytest.raises(TableError, match="another pocketnas measures into"):
        open_journal(tmp_path / "journal", header)
    first.add(Entry(kind="timing", visit=0, name="a", session_ms=[1.0]))
    first.close()
    assert [entry.name for entry in open_journal(tmp_path / "journal", header).entries] == ["a"]


@pytest.mark.parametrize(
    "address",
    [
        *("ssh://me:secret@board", "ssh://me:secret@board:port", "ssh://[bad:secret", "ssh://board?password=secret"),
        *("adb://me:secret@phone", "adb://phone?password=secret", "tensorrt://me:secret@box", "web://me:secret@phone"),
    ],
)
def test_a_password_in_an_address_is_refused_and_not_printed(address: str) -> None:
    from latency_tables.devices.registry import open_runner

    with pytest.raises(TableError) as raised:
        open_runner(address)
    assert "secret" not in str(raised.value)
