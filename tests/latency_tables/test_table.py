"""Tables as data and as files, their calibration, their error, and their differences."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from latency_tables.accuracy import error_report, spearman
from latency_tables.blocks import Block
from latency_tables.calibration import METHODS, MeasuredNetwork, calibrate
from latency_tables.compare import compare
from latency_tables.errors import TableError
from latency_tables.store import load_table, save_table, shipped_names, table_text
from latency_tables.table import (
    Calibration,
    DeviceInfo,
    LatencyTable,
    MissingRows,
    Provenance,
    Row,
    parse_table,
)
from tests.latency_tables.conftest import BLOCKS, LARGE, LINEAR, POOL, SMALL, STEM, network
from tests.latency_tables.fakes import plain_cost_ms


def _table(**rows_ms: float) -> LatencyTable:
    costs = {block.key: plain_cost_ms(block) for block in BLOCKS} | rows_ms
    return LatencyTable(
        device=DeviceInfo(name="toy", runtime="none"),
        calibration=Calibration(method="none", fixed_ms=0.5),
        error=error_report([1.0, 2.0, 3.0, 4.0], [1.1, 1.9, 3.3, 4.0]),
        provenance=Provenance(created="2026-11-22", tool="a test", source="invented"),
        rows={key: Row(median_ms=cost, network_ms=cost, spread_percent=1.0) for key, cost in costs.items()},
    )


def test_a_prediction_is_the_sum_of_rows_and_the_fixed_part_with_its_interval() -> None:
    table = _table()
    predicted = table.predict(network(SMALL, LARGE))
    assert predicted.latency_ms == pytest.approx(0.5 + sum(map(plain_cost_ms, network(SMALL, LARGE))))
    assert predicted.low_ms is not None
    assert predicted.high_ms is not None
    assert predicted.low_ms < predicted.latency_ms < predicted.high_ms
    assert predicted.high_ms == pytest.approx(predicted.latency_ms * table.upper_factor)


def test_missing_rows_are_all_listed_and_never_guessed() -> None:
    other, another = (Block("conv", 16, 3, channels) for channels in (9, 10))
    with pytest.raises(MissingRows) as caught:
        _table().predict((other, SMALL, another, other))
    assert caught.value.missing == (other, another)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_file_gives_back_the_table_and_diffs_by_row(tmp_path: Path) -> None:
    table = _table()
    save_table(table, tmp_path / "t.json")
    assert load_table(tmp_path / "t.json") == table
    text = table_text(table)
    assert json.loads(text)["schema_version"] == 1
    changed = table_text(_table(**{SMALL.key: 9.0}))
    lines = [(a, b) for a, b in zip(text.splitlines(), changed.splitlines(), strict=True) if a != b]
    assert len(lines) == 1
    assert SMALL.key in lines[0][0]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: d.update(schema_version=2), "schema_version"),
        (lambda d: d["rows"][SMALL.key].update(median_ms=-1.0), "median_ms"),
        (lambda d: d["rows"][SMALL.key].update(median_ms="3"), "median_ms"),
        (lambda d: d["rows"].update({"conv in=1": d["rows"][SMALL.key]}), "not a block"),
        (lambda d: d.update(extra=1), "extra"),
        (lambda d: d["device"].update(threads=0), "threads"),
        (lambda d: d.pop("device"), "device"),
    ],
)
def test_spoilt_files_are_refused_by_entry(tmp_path: Path, spoil, said: str) -> None:  # type: ignore[no-untyped-def]
    document = json.loads(table_text(_table()))
    spoil(document)
    with pytest.raises(TableError, match=said) as caught:
        parse_table(json.dumps(document), "t.json")
    assert str(caught.value).startswith("t.json")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_torn_and_random_files_never_pass_nor_crash(data: st.DataObject) -> None:
    text = table_text(_table())
    cut = data.draw(st.integers(0, len(text) - 3))
    with pytest.raises(TableError):
        parse_table(text[:cut], "t.json")
    with pytest.raises(TableError):
        parse_table(data.draw(st.text(max_size=40)), "t.json")


def test_unknown_names_are_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="neither a file nor a shipped table"):
        load_table("no-such-device")
    (tmp_path / "binary").write_bytes(b"\x80\xff")
    with pytest.raises(TableError, match="not a text file"):
        load_table(tmp_path / "binary")


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_tables_read_and_keep_what_they_promise(name: str) -> None:
    table = load_table(name)
    assert table.error is not None
    assert table.error.networks >= 30
    assert table.error.mape_percent < 5
    assert table.rows
    # Baselines know a table by the hash of its text, which a newer field must not change.
    assert '"clock"' not in table_text(table) and '"browser"' not in table_text(table)


# -- calibration ---------------------------------------------------------------------------------------


def _networks(n: int, cost, noise: float = 0.0, seed: int = 0) -> list[MeasuredNetwork]:  # type: ignore[no-untyped-def]
    rng = random.Random(seed)
    found = []
    for _ in range(n):
        blocks = network(*rng.choices((SMALL, LARGE), k=rng.randint(1, 8)))
        found.append(MeasuredNetwork(blocks, sum(map(cost, blocks)) * rng.gauss(1, noise)))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_every_method_leaves_a_device_that_is_its_rows_as_it_is(method: str) -> None:
    rows = {block: plain_cost_ms(block) for block in BLOCKS}
    fitted = calibrate(rows, _networks(40, plain_cost_ms), method)
    for measured in _networks(20, plain_cost_ms, seed=1):
        predicted = fitted.fixed_ms + sum(fitted.network_ms[block] for block in measured.blocks)
        assert predicted == pytest.approx(measured.latency_ms, rel=1e-3)


def test_the_method_that_the_device_needs_is_chosen() -> None:
    rows = {block: plain_cost_ms(block) for block in BLOCKS}
    scaled = calibrate(rows, _networks(40, lambda block: 1.4 * plain_cost_ms(block), 0.01))
    assert scaled.terms["mean_factor"] == pytest.approx(1.4, rel=0.02)
    assert calibrate(rows, []).method == "none"
    assert calibrate(rows, _networks(4, plain_cost_ms, 0.01)).method in ("none", "scale")
    squeeze_costs_double = calibrate(
        rows, _networks(60, lambda block: plain_cost_ms(block) * (2 if block.se_channels else 1), 0.01)
    )
    assert squeeze_costs_double.method in ("affine", "terms", "blocks")
    held = _networks(30, lambda block: plain_cost_ms(block) * (2 if block.se_channels else 1), seed=2)
    off = [
        abs(squeeze_costs_double.fixed_ms + sum(squeeze_costs_double.network_ms[b] for b in n.blocks) - n.latency_ms)
        / n.latency_ms
        for n in held
    ]
    assert max(off) < 0.03


def test_a_correction_is_judged_on_networks_that_it_was_not_fitted_on() -> None:
    """Where nothing but noise is left, more freedom must not look better."""
    rng = random.Random(0)
    blocks = [Block("mbconv", 8, 8 * width, 8 * width, 3, 1, 16, 0, "relu", True) for width in range(1, 41)]
    rows = {block: plain_cost_ms(block) for block in blocks}
    noisy = [
        MeasuredNetwork(net, sum(map(plain_cost_ms, net)) * rng.gauss(1, 0.1))
        for net in (tuple(rng.sample(blocks, 5)) for _ in range(40))
    ]
    errors = calibrate(rows, noisy).terms
    assert errors["cv_mape_percent.blocks"] > 0.95 * errors["cv_mape_percent.none"]


def test_an_injected_cost_per_network_shows_in_the_bias_term() -> None:
    rows = {block: plain_cost_ms(block) for block in BLOCKS}
    nets = [MeasuredNetwork(n.blocks, n.latency_ms + 0.05) for n in _networks(60, plain_cost_ms)]
    fitted = calibrate(rows, nets, "affine")
    head = sum(fitted.network_ms[b] - rows[b] for b in (STEM, POOL, LINEAR))  # in every network: the same thing
    assert fitted.fixed_ms + head == pytest.approx(0.05, abs=0.01)


def test_no_block_is_free_however_wrong_its_row() -> None:
    rows = {block: plain_cost_ms(block) for block in BLOCKS} | {POOL: 5.0}
    fitted = calibrate(rows, _networks(60, plain_cost_ms), "blocks")
    assert all(cost > 0 for cost in fitted.network_ms.values())
    with pytest.raises(TableError, match="has no row"):
        calibrate({SMALL: 1.0}, _networks(3, plain_cost_ms))
    with pytest.raises(TableError, match="known are none, scale"):
        calibrate(rows, [], "magic")


# -- error ---------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=3, max_size=40))
def test_spearman_is_that_of_scipy_ties_included(pairs: list[tuple[int, int]]) -> None:
    one, other = np.array(pairs, dtype=float).T
    expected = spearmanr(one, other).statistic if len(set(one)) > 1 < len(set(other)) else 0.0
    assert spearman(one, other) == pytest.approx(expected, abs=1e-12)


def test_the_error_report_s_figures() -> None:
    report = error_report([10.0, 20.0, 30.0, 40.0], [10.0, 21.0, 33.0, 30.0])
    assert report.mape_percent == pytest.approx(100 * (0 + 1 / 21 + 3 / 33 + 10 / 30) / 4)
    assert report.within_5_percent == 0.5
    assert report.within_10_percent == 0.75
    assert report.worst_under_percent == pytest.approx(100 * 3 / 33)
    assert report.rmse_ms == pytest.approx(np.sqrt((1 + 9 + 100) / 4))
    assert report.residual_low == pytest.approx(-0.25)
    assert report.residual_high == pytest.approx(0.1)
    with pytest.raises(TableError, match="at least two"):
        error_report([1.0], [1.0])


def test_the_interval_holds_95_percent_of_new_networks() -> None:
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        report = error_report(np.ones(100).tolist(), rng.normal(1, 0.03, 100).tolist())
        new = rng.normal(1, 0.03, 100)
        inside.append(np.mean((new >= 1 + report.residual_low) & (new <= 1 + report.residual_high)))
    assert 0.95 <= np.mean(inside) <= 0.975


# -- differences ---------------------------------------------------------------------------------------


def test_a_diff_tells_what_is_slower_beyond_noise() -> None:
    before, after = _table(), _table(**{SMALL.key: plain_cost_ms(SMALL) * 1.5, LARGE.key: plain_cost_ms(LARGE) * 1.01})
    result = compare(before, after)
    assert [(change.key, round(change.percent)) for change in result.changed] == [(SMALL.key, 50)]
    assert result.unchanged == len(BLOCKS) - 1
    assert compare(before, before).changed == ()
    extra = Block("conv", 16, 3, 9).key
    assert compare(before, _table(**{extra: 1.0})).only_after == (extra,)
