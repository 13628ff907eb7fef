"""Measuring: what is timed, drift, lost devices, stops, and what comes out."""

from pathlib import Path

import pytest

from latency_tables.blocks import Block
from latency_tables.build import ProfilePlan, journal_path, measure_table
from latency_tables.errors import DeviceLost, TableError
from latency_tables.journal import SENTINEL, read_journal
from latency_tables.measure import MeasureOptions, measure_models
from latency_tables.onnx_models import NamedModel, block_model
from latency_tables.store import load_table
from tests.latency_tables.conftest import BLOCKS, LARGE, LINEAR, POOL, SMALL, STEM, network
from tests.latency_tables.fakes import FakeRunner, plain_cost_ms

FAST = MeasureOptions(cool_seconds=0.0)
MODELS = tuple(map(block_model, BLOCKS))


def _nets(prefix: str, n: int) -> tuple[NamedModel, ...]:
    return tuple(NamedModel(f"{prefix}{i}", network(*[SMALL] * (1 + i % 4), *[LARGE] * (i // 4 % 5))) for i in range(n))


def test_every_model_is_timed_in_every_visit_between_sentinels(tmp_path: Path) -> None:
    runner = FakeRunner(plain_cost_ms)
    device, samples = measure_models(MODELS, runner, tmp_path / "j", FAST, None)
    assert device.name == "fake"
    assert {name: len(values) for name, values in samples.sessions_ms.items()} == {
        model.name: FAST.visits * FAST.protocol.sessions for model in MODELS
    }
    assert runner.timed[0] == runner.timed[-1] == SENTINEL
    gaps = "".join("s" if name == SENTINEL else "m" for name in runner.timed)
    assert "m" * (FAST.sentinel_every + 1) not in gaps
    orders = [[n for n in runner.timed if n != SENTINEL][i * 5 : i * 5 + 5] for i in range(FAST.visits)]
    assert len({tuple(order) for order in orders}) > 1  # shuffled anew
    assert samples.median_ms(SMALL.key) == pytest.approx(plain_cost_ms(SMALL))


def test_what_stands_beside_a_drifted_sentinel_is_measured_again(tmp_path: Path) -> None:
    many = tuple(NamedModel(f"m{i}", network(SMALL)) for i in range(20))
    runner = FakeRunner(plain_cost_ms, slowness=lambda n: 1.3 if 20 <= n < 26 else 1.0)
    _, samples = measure_models(many, runner, tmp_path / "j", MeasureOptions(visits=1, cool_seconds=0), None)
    assert samples.batches_repeated > 0
    assert len(runner.timed) > 28
    truth = plain_cost_ms(STEM) + sum(map(plain_cost_ms, (SMALL, POOL, LINEAR)))
    assert all(samples.median_ms(model.name) == pytest.approx(truth, rel=0.01) for model in many)


def test_a_device_that_stays_slow_is_divided_out(tmp_path: Path) -> None:
    """In the middle of the third of five visits, when half of the models have been timed thrice."""
    many = tuple(
        block_model(Block("mbconv", 8, 8 * width, 8 * width, 3, 1, 16, 0, "relu", True)) for width in range(1, 21)
    )
    options = MeasureOptions(repeats=0, visits=5, cool_seconds=0, unstable_percent=1000)
    steady = FakeRunner(plain_cost_ms)
    measure_models(many, steady, tmp_path / "steady", options, None)
    half = len(steady.timed) // 2
    slowing = FakeRunner(plain_cost_ms, slowness=lambda n: 1.5 if n > half else 1.0)
    _, samples = measure_models(many, slowing, tmp_path / "slowing", options, None)
    factors = [samples.median_ms(model.name) / plain_cost_ms(model.blocks[0]) for model in many]
    assert max(factors) / min(factors) < 1.1  # 1.5 where it is not divided out
    assert samples.drift_percent > 30


def test_a_lost_device_is_tried_again_and_loses_only_what_was_in_flight(tmp_path: Path) -> None:
    runner = FakeRunner(plain_cost_ms, breaks_at={4})
    _, samples = measure_models(MODELS, runner, tmp_path / "j", FAST, None)
    assert len(samples.sessions_ms) == len(MODELS)
    timed = [name for name in runner.timed if name != SENTINEL]
    assert len(timed) == len(MODELS) * FAST.visits  # nothing was timed twice


def test_a_stopped_measurement_continues_also_after_a_torn_line(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    options = MeasureOptions(cool_seconds=0, reconnects=0)
    with pytest.raises(DeviceLost):
        measure_models(MODELS, FakeRunner(plain_cost_ms, breaks_at={9}), journal, options, None)
    kept = [entry.name for entry in read_journal(journal)[1]]
    assert len(kept) == 9
    with journal.open("a") as stream:
        stream.write('{"kind":"timing","visit":1,"na')
    runner = FakeRunner(plain_cost_ms)
    _, samples = measure_models(MODELS, runner, journal, options, None)
    assert all(len(values) == 6 for values in samples.sessions_ms.values())
    timed = sum(name != SENTINEL for name in runner.timed)
    assert timed == len(MODELS) * options.visits - sum(name != SENTINEL for name in kept)


def test_a_journal_of_another_device_or_plan_is_not_continued(tmp_path: Path) -> None:
    options = MeasureOptions(reconnects=0)
    with pytest.raises(DeviceLost):
        measure_models(MODELS, FakeRunner(plain_cost_ms, breaks_at={3}), tmp_path / "j", options, None)
    with pytest.raises(TableError, match="'fake'"):
        measure_models(MODELS, FakeRunner(plain_cost_ms, name="other"), tmp_path / "j", options, None)
    with pytest.raises(TableError, match="another measurement"):
        measure_models(MODELS[:2], FakeRunner(plain_cost_ms), tmp_path / "j", options, None)
    (tmp_path / "j").write_text("hello\n")
    with pytest.raises(TableError, match="not the journal"):
        measure_models(MODELS, FakeRunner(plain_cost_ms), tmp_path / "j", options, None)


def test_a_journal_that_is_older_than_the_clock_is_continued(tmp_path: Path) -> None:
    options = MeasureOptions(reconnects=0)
    with pytest.raises(DeviceLost):
        measure_models(MODELS, FakeRunner(plain_cost_ms, breaks_at={3}), tmp_path / "j", options, None)
    before = len(read_journal(tmp_path / "j")[1])
    device, _ = measure_models(MODELS, FakeRunner(plain_cost_ms, clock="wall"), tmp_path / "j", options, None)
    assert before and device.clock == "wall"


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    measure_models(MODELS, FakeRunner(plain_cost_ms), tmp_path / "j", FAST, lambda d, t, w: seen.append((d, t)))
    assert seen[-1] == (15, 15)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_an_additive_device_is_recovered_and_its_error_is_its_noise(tmp_path: Path) -> None:
    """METHODS 19: true additive costs, a constant per call that a network pays once, and 2 % noise."""
    runner = FakeRunner(plain_cost_ms, per_call_ms=0.02, noise=0.02)
    plan = ProfilePlan(BLOCKS, _nets("fit", 40), _nets("held", 40), "toy", "0")
    out = tmp_path / "table.json"
    table = measure_table(plan, runner, out, FAST)
    assert load_table(out) == table
    assert not journal_path(out).exists()
    assert table.error is not None
    assert table.error.mape_percent < 2
    truth = 0.02 + sum(map(plain_cost_ms, network(SMALL, LARGE, LARGE)))
    assert table.predict(network(SMALL, LARGE, LARGE)).latency_ms == pytest.approx(truth, rel=0.02)
    raw = sum(table.rows[block.key].median_ms for block in network(SMALL, LARGE, LARGE))
    assert raw > 1.1 * truth  # what the calibration had to take away
    deeper = [table.network_ms(network(*[SMALL] * depth)) for depth in (1, 2, 3, 4)]
    assert deeper == sorted(set(deeper))


def test_unstable_rows_are_visited_again_and_flagged(tmp_path: Path) -> None:
    class Erratic(FakeRunner):
        def measure(self, models, protocol):  # type: ignore[no-untyped-def]
            for timing in super().measure(models, protocol):
                if timing.name == SMALL.key:
                    values = tuple(self.rng.uniform(0.5, 2) for _ in timing.session_ms)
                    timing = type(timing)(timing.name, values, timing.runs)
                yield timing

    table = measure_table(ProfilePlan(BLOCKS, (), ()), Erratic(plain_cost_ms), tmp_path / "t.json", FAST)
    assert [key for key, row in table.rows.items() if row.unstable] == [SMALL.key]
    assert table.rows[SMALL.key].sessions > table.rows[LARGE.key].sessions
    assert table.error is None


def test_a_held_out_network_may_not_be_fitted_on() -> None:
    with pytest.raises(TableError, match="same name"):
        ProfilePlan(BLOCKS, _nets("n", 3), _nets("n", 2))
