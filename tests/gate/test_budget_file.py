"""Budget files: what is read, and how a wrong one is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.budget import BudgetError
from pipeline.errors import PipelineError
from pipeline.gate.budget_document import BudgetDocument, json_schema
from pipeline.gate.budget_file import BudgetFile, load_budget, parse_budget
from pipeline.gate.errors import GateError
from pipeline.gate.metrics import METRICS


def parse(text: str, tmp_path: Path) -> BudgetFile:
    path = tmp_path / "budget.toml"
    path.write_text(text)
    return load_budget(path)


def test_the_contract_of_the_command_line(tmp_path: Path) -> None:
    file = parse('latency_ms = 20\nmacs = "300M"\nparams = "6M"\nsize_mb = 12\naccuracy = 0.9\n', tmp_path)
    budget = file.budget(None)
    assert (budget.latency_ms, budget.macs, budget.params, budget.size_mb, budget.accuracy) == (20, 3e8, 6e6, 12, 0.9)
    assert set(file.levels.values()) == {"error"}
    assert file.tolerance == {"latency_ms": 0.025, "macs": 0, "params": 0, "size_mb": 0.01, "accuracy": 0}


def test_a_runs_config_is_a_budget_file(tmp_path: Path) -> None:
    file = parse('seed = 3\n[data]\npath = "x"\n[budget]\nlatency_ms = 20\n', tmp_path)
    assert file.budget(None).latency_ms == 20


@pytest.mark.parametrize("name", ["sign-digits", "cifar10"])
def test_the_shipped_configurations_are_budget_files(name: str) -> None:
    file = load_budget(Path(__file__).parents[2] / "examples" / f"{name}.toml")
    assert file.budget(None).macs and file.budget(None).latency_ms is None
    assert "latency_quantile = 0.4 is no limit here" in file.notes[0]


def test_a_quantile_is_known_in_a_runs_config_alone(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="unknown key latency_quantile"):
        parse('latency_quantile = 0.4\nmacs = "3M"', tmp_path)


def test_the_limits_of_a_runs_further_devices_hold(tmp_path: Path) -> None:
    """Each with its own table; the run's own limit stays that of its own device."""
    further = '[devices.phone]\ntable = "phone.json"\nlatency_ms = 14\n'
    file = parse(f"[budget]\nlatency_ms = 20\n{further}", tmp_path)
    assert file.budget(None).latency_ms == {"host": 20, "phone": 14}
    assert (file.devices["host"].url, file.devices["phone"].table) == ("host", "phone.json")
    file = parse(f'[device]\ntable = "x/pi.json"\n[budget]\nlatency_ms = 20\n{further}', tmp_path)
    assert file.budget(None).latency_ms == {"pi": 20, "phone": 14}
    assert file.devices["pi"].table == "x/pi.json"


def test_everything_at_once(tmp_path: Path) -> None:
    file = parse(
        'latency_ms = {pixel = 25, host = 8}\nsize_mb = 12\n[levels]\nlatency_ms = "warn"\n'
        '[tolerance]\nlatency_ms = "4%"\naccuracy = 0.01\n[devices.pixel]\ntable = "pixel.json"\n'
        '[[models]]\npath = "small.onnx"\nsize_mb = 3\n[[models]]\npath = "*.tflite"\nname = "lite"\n',
        tmp_path,
    )
    small, lite = file.models
    assert (file.budget(small).size_mb, file.budget(lite).size_mb) == (3, 12)
    assert file.levels["latency_ms"] == "warn"
    assert (file.tolerance["latency_ms"], file.tolerance["accuracy"]) == (0.04, 0.01)
    assert (small.pattern, small.number, file.folder) == ("small.onnx", 1, tmp_path)
    assert lite.name == "lite"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latencyms = 20", r"unknown key latencyms; did you mean 'latency_ms'\?"),
        ("Size_MB = 2", r"did you mean 'size_mb'\?"),
        ("size_mb = 2\n[levels]\nlatency = 'warn'", r"unknown key levels\.latency; did you mean 'latency_ms'\?"),
        ("size_mb = 2\n[levels]\nmacs = 'warning'", r"levels\.macs = 'warning': .*'error' or 'warn'"),
        ("size_mb = 2\n[devices.a]\ntabel = 'x'", r"devices\.a\.tabel; did you mean 'table'\?"),
        ("size_mb = 2\n[devices.a]\nthreads = 2", r"\[devices\.a\] needs either table"),
        ("size_mb = 2\n[devices.a]\ntable = 'x'\nurl = 'host'", r"\[devices\.a\] needs either table"),
        ("size_mb = 2\n[[models]]\nname = 'x'", r"models #1\.path is missing"),
        ("size_mb = 2\n[[models]]\npath = 'x'\nsizemb = 3", r"models #1\.sizemb; did you mean 'size_mb'\?"),
        ("size_mb = 2\n[[models]]\npth = 'x'", r"models #1\.pth; did you mean 'path'\?"),
        ("size_mb = 2\ntolerance = 3", r"tolerance = 3: "),
        ("size_mb = 2\n[tolerance]\nmacs = 'lots'", r"tolerance macs = 'lots' is no share; accepted is"),
        ("size_mb = 2\n[tolerance]\nmacs = '-3%'", r"tolerance macs = '-3%' is no share"),
        ("size_mb = 2\n[tolerance]\nsize_mb = 5", r'size_mb = 5\.0 is no share; accepted is "5%" or 0.05'),
        ("size_mb = 2\n[tolerance]\nmacs = nan", r"macs = nan is no share"),
        ("size_mb = 2\n[[models]]\npath = 'x'\ninput_shapes = {x = [1, 0]}", r"input_shapes\.x\.?.*#2 = 0: .*greater"),
        ("size_mb = 2\n[[models]]\npath = 'x'\ninput_shapes = {x = [-1, 3]}", r"#1 = -1: .*greater"),
        ("size_mb = inf", r"size_mb = inf is not a positive number"),
        ("a = " + "[" * 5000 + "]" * 5000, r"is not TOML"),
        ("macs = 1" + "0" * 5000, r"is not TOML"),
        ("size_mb = -1", r"size_mb = -1\.0 is not a positive number"),
        ("accuracy = 90", r"accuracy = 90 is above 1"),
        ("macs = true", r"macs = True: "),
        ("[[models]]\npath = 'x'\nmacs = 'many'", r"macs = 'many' is not a positive number"),
        ("size_mb = 2\nschema_version = 7", r"schema_version = 7: "),
        ("", r"limits nothing"),
        ("size_mb = 2\n[budget]\nsize_mb = 3", r"size_mb stands both in \[budget\] and outside"),
        ("budget = 3", r"\[budget\] is 3; accepted is a table"),
        ("size_mb = = 2", r"is not TOML"),
        ("size_mb = 2\ndevices = 3", r"devices = 3: "),
        ("size_mb = 2\nlevels.macs = 3", r"levels\.macs = 3: "),
    ],
)
def test_a_wrong_file_is_refused_with_the_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises((GateError, BudgetError), match=said):
        parse(text, tmp_path)


KEYS = st.sampled_from([*METRICS, "levels", "tolerance", "devices", "models", "path", "x"])
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(VALUES, lambda v: st.lists(v, max_size=2) | st.dictionaries(KEYS, v, max_size=3), max_leaves=8))
def test_whatever_stands_in_it_is_read_or_refused_in_words(document: object) -> None:
    content = document if isinstance(document, dict) else {"latency_ms": document}
    try:
        parse_budget(content, "budget.toml", Path("/"))
    except PipelineError as error:
        assert str(error)


def test_the_schema_has_every_key_with_a_description() -> None:
    schema = json_schema()
    json.dumps(schema)
    assert set(schema["properties"]) == set(BudgetDocument.model_fields)
    tables = [schema, *schema["$defs"].values()]
    assert all(entry["description"] for table in tables for entry in table["properties"].values())
    assert all(table["additionalProperties"] is False for table in tables)


@pytest.mark.parametrize(
    "url",
    ["ssh://a?config=evil.cfg", "ssh://a?python=/tmp/x", "adb://1?binary=x", "ssh://-oProxyCommand=id", "ssh://a b"],
)
def test_a_file_names_no_device_that_could_run_a_program(tmp_path: Path, url: str) -> None:
    for text in (f'size_mb = 2\n[devices.d]\nurl = "{url}"', f'[[models]]\npath = "x"\nlatency_ms = {{"{url}" = 3}}'):
        with pytest.raises(GateError, match="are for the command line: --device"):
            parse(text, tmp_path)
    for fine in ("host", "ssh://pi@board.local:22", "adb://R58M123", "tensorrt", "ssh://[::1]"):
        assert parse(f'size_mb = 2\n[devices.d]\nurl = "{fine}"', tmp_path).devices["d"].url == fine


def test_a_byte_order_mark_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "budget.toml"
    path.write_bytes(b"\xef\xbb\xbfsize_mb = 2")
    assert load_budget(path).budget(None).size_mb == 2


def test_more_than_the_whole_is_allowed_in_percent(tmp_path: Path) -> None:
    assert parse('[tolerance]\nmacs = "300%"', tmp_path).tolerance["macs"] == 3
