"""From a space to a table and back: planning, profiling, validating, likening, and predicting many networks."""

import json
import random
import time
from pathlib import Path

import numpy as np
import pytest

from latency_tables.blocks import Block
from latency_tables.classifiers import with_interpolated_classifiers
from latency_tables.errors import TableError
from latency_tables.extend import extend_table
from latency_tables.journal import SENTINEL
from latency_tables.measure import MeasureOptions
from latency_tables.store import load_table, save_table
from latency_tables.table import Calibration, DeviceInfo, LatencyTable, MissingRows, Provenance, Row
from pipeline.cli.app import run_command as run
from pipeline.profiling import (
    ProfileOptions,
    latency_cost,
    profile_by_transfer,
    profile_plan,
    profile_space,
    random_networks,
    read_networks,
    table_blocks,
    validate_table,
)
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace
from tests.latency_tables.fakes import FakeRunner, plain_cost_ms

Capture = pytest.CaptureFixture[str]
FAST = ProfileOptions(calibration=40, held_out=30, measure=MeasureOptions(visits=2, cool_seconds=0))


@pytest.fixture(scope="module")
def quickstart() -> SearchSpace:
    return load_space("quickstart")


def _exact_table(space: SearchSpace, name: str = "exact") -> LatencyTable:
    return LatencyTable(
        device=DeviceInfo(name=name, runtime="none", runtime_version="1"),
        calibration=Calibration(method="none", fixed_ms=0.1),
        provenance=Provenance(created="2026-11-22", tool="a test", source="invented"),
        rows={
            block.key: Row(median_ms=plain_cost_ms(block), network_ms=plain_cost_ms(block))
            for block in space.distinct_blocks()
        },
    )


def test_a_plan_has_every_block_once_and_no_network_twice(quickstart: SearchSpace) -> None:
    plan = profile_plan(quickstart, FAST)
    assert set(plan.blocks) > set(quickstart.distinct_blocks())
    classes = {block.out_channels for block in plan.blocks if block.kind == "linear"}
    assert classes == {2, 10, 100, 1000}
    names = [model.name for model in (*plan.calibration, *plan.held_out)]
    assert (len(plan.calibration), len(plan.held_out), len(set(names))) == (40, 30, 70)
    assert profile_plan(quickstart, FAST) == plan


def test_a_space_with_few_networks_is_shared_out(quickstart: SearchSpace) -> None:
    stage = quickstart.stages[0]
    tiny = quickstart.with_resolutions([16])
    for index in range(2):
        one = type(stage)(stage.widths, (1,), stage.slots[:1], stage.stride, stage.activation, stage.squeeze)
        tiny = tiny.with_stage(index, one)
    plan = profile_plan(tiny, FAST)
    assert len(plan.calibration) + len(plan.held_out) == tiny.size == 16
    assert len(plan.held_out) == 7


def test_profiling_a_known_device(quickstart: SearchSpace, tmp_path: Path) -> None:
    runner = FakeRunner(plain_cost_ms, per_call_ms=0.05, noise=0.01)
    table = profile_space(quickstart, runner, tmp_path / "t.json", FAST)
    assert set(table.rows) == {block.key for block in table_blocks(quickstart)}
    assert table.provenance.space == "quickstart"
    assert table.error is not None
    assert table.error.mape_percent < 1.5
    assert table.error.spearman > 0.98


def test_validation_tells_the_error_and_that_the_device_is_another(quickstart: SearchSpace) -> None:
    table = _exact_table(quickstart)
    runner = FakeRunner(plain_cost_ms, per_call_ms=0.1)
    archs = random_networks(quickstart, 12, random.Random(3))
    result = validate_table(table, quickstart, archs, runner, FAST.measure)
    assert result.error.mape_percent < 1e-6
    assert result.device_differs == ""
    slow = FakeRunner(lambda block: 2 * plain_cost_ms(block), per_call_ms=0.2)
    again = validate_table(table, quickstart, archs, slow, FAST.measure)
    assert again.error.mape_percent == pytest.approx(50)
    assert again.worst[2] == pytest.approx(2 * again.worst[1])
    assert result.slower_percent == 0.0  # an invented table does not tell


def test_likeness_makes_a_table_from_twenty_networks(quickstart: SearchSpace, tmp_path: Path) -> None:
    def new_device_ms(block: Block) -> float:
        return 1.7 * plain_cost_ms(block) + (0.05 if block.se_channels else 0.0)

    runner = FakeRunner(new_device_ms, noise=0.005)
    options = ProfileOptions(calibration=20, held_out=40, measure=FAST.measure)
    table = profile_by_transfer(quickstart, runner, tmp_path / "t.json", [_exact_table(quickstart)], options)
    assert table.error is not None
    assert table.error.networks == 40
    assert table.error.mape_percent < 4
    assert table.error.spearman > 0.97
    assert len(set(runner.timed)) == 20 + 40 + 1  # no block was timed
    with pytest.raises(MissingRows):
        lacking = _exact_table(quickstart.with_resolutions([16]))
        profile_by_transfer(quickstart, runner, tmp_path / "u.json", [lacking], options)


def test_predictions_of_many_networks_equal_those_of_one_and_are_fast() -> None:
    space = load_space("ofa-mbv3-1.0")
    table = _exact_table(space)
    rng = random.Random(0)
    archs = [space.sample(rng) for _ in range(4000)]
    start = time.process_time()
    cost = latency_cost(table, space)
    predicted = cost(cost.codes.encode(archs))
    per_second = len(archs) / (time.process_time() - start)
    assert per_second >= 20_000
    assert np.allclose(predicted[:50], [table.network_ms(space.blocks(arch)) for arch in archs[:50]])
    codes = cost.codes.sample(200_000, np.random.default_rng(0))
    start = time.process_time()
    cost(codes)
    assert len(codes) / (time.process_time() - start) >= 1_000_000


def test_whole_network_measurements_of_a_csv(quickstart: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "measured.csv"
    archs = random_networks(quickstart, 100, random.Random(0))
    lines = [f"{arch},{sum(map(plain_cost_ms, quickstart.blocks(arch)))}" for arch in archs]
    path.write_text("\n".join(["arch,ms", *lines]) + "\n")
    assert len(read_networks(path, quickstart)) == 100
    out = tmp_path / "t.json"
    arguments = ["table", "import", str(path), "--format", "networks", "--space", "quickstart"]
    assert run([*arguments, "--device", "phone", "--out", str(out)]) == 0
    path.write_text("arch,ms\nr16_w1-k3e1,2\n")
    with pytest.raises(TableError, match="line 2"):
        read_networks(path, quickstart)
    path.write_text(f"arch,ms\n{archs[0]},fast\n")
    with pytest.raises(TableError, match="'fast' is not a latency"):
        read_networks(path, quickstart)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(TableError, match="columns arch and ms"):
        read_networks(path, quickstart)


def _json(capsys: pytest.CaptureFixture[str]) -> dict:  # type: ignore[type-arg]
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_the_commands_measure_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = tmp_path / "tiny.toml"
    space.write_text(
        'schema_version = 1\nname = "tiny"\nclasses = 3\nresolutions = [16]\n'
        'stem = { channels = 8, activation = "relu" }\nhead = { channels = 16, activation = "relu" }\n'
        "[[stages]]\nwidths = [8]\ndepths = [1, 2, 3, 4]\nkernels = [3, 5]\nexpands = [2]\n"
        'stride = 1\nactivation = "relu"\n'
    )
    out = tmp_path / "host.json"
    arguments = ["--networks", "12", "--held-out", "6", "--quick", "--json"]
    assert run(["profile", str(space), "--device", "host", "--out", str(out), *arguments]) == 0
    profiled = _json(capsys)
    assert profiled["rows"] == 6 + 4
    assert profiled["error"]["networks"] == 6
    assert profiled["device"]["runtime"] == "onnxruntime"
    assert run(["table", "predict", str(out), str(space), "max", "--json"]) == 0
    predicted = _json(capsys)
    low, high = predicted["interval_ms"]
    assert 0 < low <= predicted["latency_ms"] <= high
    assert run(["table", "validate", str(out), str(space), "--models", "4", "--quick", "--json"]) == 0
    validated = _json(capsys)
    assert validated["n"] == 4
    assert {"mape", "spearman", "within_5_percent", "within_10_percent", "worst"} <= set(validated)
    assert run(["table", "show", str(out), "--rows"]) == 0
    assert "mbconv" in capsys.readouterr().out
    assert run(["table", "diff", str(out), str(out), "--json"]) == 0
    assert _json(capsys)["changed"] == []


def test_commands_that_cannot_run_say_why(
    quickstart: SearchSpace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_table(_exact_table(quickstart), tmp_path / "t.json")
    assert run(["table", "predict", str(tmp_path / "t.json"), "nas-bench-macro", "max"]) == 2
    assert "lacks" in capsys.readouterr().err
    assert run(["profile", "quickstart", "--device", "host"]) == 2
    assert "--out" in capsys.readouterr().err
    assert run(["profile", "quickstart", "--device", "hsot", "--out", str(tmp_path / "u.json")]) == 2
    assert "'hsot'" in capsys.readouterr().err
    assert run(["profile", "quickstart", "--device", "adb://none?binary=x", "--out", str(tmp_path / "u.json")]) == 3
    assert not (tmp_path / "u.json").exists()


def test_a_table_is_extended_on_its_own_device_only(quickstart: SearchSpace, tmp_path: Path) -> None:
    table = profile_space(quickstart, FakeRunner(plain_cost_ms, per_call_ms=0.02), tmp_path / "t.json", FAST)
    wider = quickstart.with_classes(25)
    runner = FakeRunner(plain_cost_ms, per_call_ms=0.02)
    larger = extend_table(table, wider.distinct_blocks(), runner, tmp_path / "u.json", FAST.measure)
    assert set(larger.rows) - set(table.rows) == {wider.head_blocks(4, 48)[-1].key}
    assert set(runner.timed) == {SENTINEL, wider.head_blocks(4, 48)[-1].key}
    assert (
        larger.predict(wider.blocks(wider.max())).latency_ms
        > table.predict(quickstart.blocks(quickstart.max())).latency_ms
    )
    assert "measured later" in larger.provenance.notes[-1]
    other = FakeRunner(plain_cost_ms)
    other.describe = lambda: table.device.model_copy(update={"runtime_version": "2"})  # type: ignore[method-assign]
    with pytest.raises(TableError, match="runtime_version 2"):
        extend_table(table, wider.distinct_blocks(), other, tmp_path / "v.json", FAST.measure)


def test_classifiers_are_interpolated_only_when_asked_and_say_so(quickstart: SearchSpace, tmp_path: Path) -> None:
    table = _exact_table(quickstart)
    rows = dict(table.rows)
    for classes in (2, 100):
        block = quickstart.with_classes(classes).head_blocks(4, 48)[-1]
        rows[block.key] = Row(median_ms=plain_cost_ms(block), network_ms=plain_cost_ms(block))
    table = table.model_copy(update={"rows": rows})
    wider = quickstart.with_classes(25)
    blocks = wider.blocks(wider.max())
    with pytest.raises(MissingRows):
        table.predict(blocks)
    filled = with_interpolated_classifiers(table, wider.distinct_blocks())
    assert filled.predict(blocks).latency_ms == pytest.approx(0.1 + sum(map(plain_cost_ms, blocks)))
    assert "interpolated" in filled.provenance.notes[-1]
    save_table(filled, tmp_path / "t.json")
    assert load_table(tmp_path / "t.json").rows[blocks[-1].key].interpolated
    with pytest.raises(MissingRows):  # nothing beyond the measured ones
        with_interpolated_classifiers(table, quickstart.with_classes(101).distinct_blocks())


def test_a_published_table_of_1000_classes_serves_ten(shared_data: Path, tmp_path: Path) -> None:
    """Once-for-All's own Note10 files, and a space for a person's ten classes: a prediction, and the bound of the
    classifier's row, which nobody measured."""
    out, files = tmp_path / "note10.json", sorted((shared_data / "latency_luts").glob("ofa_note10_*.yaml"))
    command = ["table", "import", *map(str, files), "--format", "ofa", "--device", "note10", "--out", str(out)]
    assert run(command) == 0
    table, space = load_table(out), load_space("ofa-mbv3-1.2").with_classes(10)
    sizes = {int(file.stem.rsplit("_", 1)[1]) for file in files}
    archs = [arch for arch in random_networks(space, 200, random.Random(0)) if arch.resolution in sizes]
    with pytest.raises(MissingRows):
        table.predict(space.blocks(archs[0]))
    for arch in archs[:10]:
        blocks = space.blocks(arch)
        thousand = table.network_ms(space.with_classes(1000).blocks(arch))
        row_ms = table.block_ms(space.with_classes(1000).blocks(arch)[-1])
        ten = with_interpolated_classifiers(table, blocks)
        assert thousand - row_ms < ten.network_ms(blocks) < thousand
        assert ten.rows[blocks[-1].key].interpolated
        assert f"at most {row_ms:.3g} ms" in ten.provenance.notes[-1]
        again = with_interpolated_classifiers(ten, space.with_classes(5).blocks(arch))
        assert again.block_ms(space.with_classes(5).blocks(arch)[-1]) == pytest.approx(row_ms / 200)
    with pytest.raises(MissingRows):  # nothing measured is above
        with_interpolated_classifiers(table, space.with_classes(1001).blocks(archs[0]))


def test_predict_says_what_it_did_not_measure(shared_data: Path, tmp_path: Path, capsys: Capture) -> None:
    out, file = tmp_path / "note10.json", shared_data / "latency_luts" / "ofa_note10_224.yaml"
    assert run(["table", "import", str(file), "--format", "ofa", "--device", "note10", "--out", str(out)]) == 0
    capsys.readouterr()
    arch = json.dumps({"r": 224, "d": [2, 3, 4, 2, 3], "ks": [3, 5, 7, 3] * 5, "e": [3, 4, 6, 4] * 5})
    assert run(["table", "predict", str(out), "ofa-mbv3-1.2", arch, "--classes", "10", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["latency_ms"] > 5
    assert said["notes"] == [
        "the classifier of 10 classes is interpolated, not measured: that of 1000 classes in "
        "proportion, 0.00669 ms; at most 0.669 ms"
    ]
