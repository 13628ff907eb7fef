"""Costs, limits, feasible candidates: against every network of a small space."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.blocks import Block
from pipeline.budget import Budget, BudgetError, Limit, read_budget, violation
from pipeline.errors import InfeasibleBudget, PipelineError
from pipeline.search.candidates import distinct, enumerate_codes, keys
from pipeline.search.costs import BlockTable, space_costs
from pipeline.search.packing import Packing
from pipeline.search.pool import FeasibleSpace, Niche, mutate
from pipeline.spaces.codes import Codes
from tests.search.problems import LARGE, SMALL, costs_of

SMALL_CODES = Codes(SMALL)
ALL = SMALL_CODES.encode(SMALL.enumerate())


class FakeTable:
    """A device on which a block takes a millisecond per `macs_per_ms`."""

    fixed_ms = 0.5

    def __init__(self, macs_per_ms: float, upper_factor: float = 1.0) -> None:
        self._macs_per_ms, self.upper_factor = macs_per_ms, upper_factor

    def block_ms(self, block: Block, /) -> float:
        return block.macs / self._macs_per_ms


# -- budget -------------------------------------------------------------------------------------------


def test_a_budget_reads_numbers_units_and_devices() -> None:
    budget = read_budget({"latency_ms": {"pixel": 20, "pi": 12.5}, "macs": "300M", "params": "6.5 M", "size_mb": 12})
    assert budget == Budget(latency_ms={"pixel": 20.0, "pi": 12.5}, macs=3e8, params=6.5e6, size_mb=12.0)
    assert read_budget(budget.to_document()) == budget
    assert [limit.name for limit in budget.limits()][:2] == ["latency_ms.pixel", "latency_ms.pi"]
    assert read_budget({"macs": "1.2G"}).macs == 1.2e9
    assert read_budget({"macs": 300_000_000}).macs == 3e8


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"latency": 20}, "unknown key 'latency'; did you mean 'latency_ms'?"),
        ({"mac": "3M"}, "did you mean 'macs'?"),
        ({"macs": "300X"}, "macs = '300X' is not a positive number"),
        ({"macs": -5}, "macs = -5.0 is not a positive number"),
        ({"latency_ms": 0}, "latency_ms = 0.0 is not a positive number"),
        ({"latency_ms": float("nan")}, "is not a positive number"),
        ({"latency_ms": True}, "latency_ms = True is not a limit"),
        ({"latency_ms": [20]}, r"latency_ms = \[20\] is not a limit"),
        ({"latency_ms": {}}, "names no device"),
        ({"latency_ms": {"pi": "soon"}}, "latency_ms.pi = 'soon'"),
        ({"accuracy": 90}, "write 90 % as 0.9"),
    ],
)
def test_a_budget_that_cannot_be_read_is_refused_by_name(document: Mapping[str, Any], said: str) -> None:
    with pytest.raises(BudgetError, match=said):
        read_budget(document)


def test_on_the_limit_is_inside_and_beyond_it_is_not() -> None:
    assert violation(20.0, 20.0) == 0
    assert violation(22.0, 20.0) == pytest.approx(0.1)
    assert Limit("accuracy", 0.9, at_least=True).violation(0.95) < 0
    assert Limit("latency_ms", 20.0).violation(float("nan")) > 0
    assert Limit("accuracy", 0.9, at_least=True).violation(float("nan")) > 0


# -- costs --------------------------------------------------------------------------------------------


def test_costs_are_those_of_the_blocks() -> None:
    costs = space_costs(SMALL, Budget(), {"a": FakeTable(1e6), "b": FakeTable(2e6)})
    rows = ALL[::97]
    values = costs.values(rows)
    assert set(values) == {"latency_ms.a", "latency_ms.b", "macs", "params", "size_mb"}
    for number, arch in enumerate(SMALL_CODES.decode(rows)):
        blocks = SMALL.blocks(arch)
        assert values["macs"][number] == sum(block.macs for block in blocks)
        assert values["params"][number] == sum(block.params for block in blocks)
        assert values["latency_ms.b"][number] == pytest.approx(0.5 + sum(b.macs for b in blocks) / 2e6)


def test_the_margin_of_a_table_belongs_to_its_limit_not_to_its_value() -> None:
    costs = space_costs(SMALL, read_budget({"latency_ms": 40}), {"a": FakeTable(1e6, upper_factor=1.1)})
    latency = costs["latency_ms"].of(ALL)
    assert (costs.feasible(ALL) == (latency * 1.1 <= 40)).all()
    assert costs.violations(ALL)["latency_ms"] == pytest.approx((latency * 1.1 - 40) / 40)


def test_several_devices_must_all_be_met() -> None:
    tables: dict[str, BlockTable] = {"a": FakeTable(1e6), "b": FakeTable(0.5e6)}
    costs = space_costs(SMALL, read_budget({"latency_ms": {"a": 40, "b": 60}}), tables)
    values = costs.values(ALL)
    expected = (values["latency_ms.a"] <= 40) & (values["latency_ms.b"] <= 60)
    assert (costs.feasible(ALL) == expected).all()
    assert 0 < expected.sum() < len(ALL)


def test_a_limit_without_a_table_is_refused() -> None:
    with pytest.raises(PipelineError, match="latency on 'pi', which has no table; known are a"):
        space_costs(SMALL, read_budget({"latency_ms": {"pi": 5}}), {"a": FakeTable(1e6)})
    with pytest.raises(PipelineError, match="names no device, but there are 2 tables"):
        space_costs(SMALL, read_budget({"latency_ms": 5}), {"a": FakeTable(1e6), "b": FakeTable(1e6)})


@given(macs=st.floats(7e6, 90e6), params=st.floats(3e5, 3e6))
@settings(max_examples=60, deadline=None)
def test_joint_feasibility_agrees_with_looking_at_every_network(macs: float, params: float) -> None:
    costs = space_costs(SMALL, Budget(macs=macs, params=params), {})
    worst = costs.worst_violation(ALL)
    try:
        row = costs.ensure_reachable()
    except InfeasibleBudget:
        assert worst.min() > 0  # never refuses what can be met
        return
    if row is not None:
        assert costs.feasible(row).all()  # and what it returns does meet it


def test_limits_that_exclude_each_other_are_told_with_the_nearest_network() -> None:
    # In this space few parameters need many MACs late in the network, so both minima are not met together.
    macs = space_costs(SMALL, Budget(), {})["macs"]
    params = space_costs(SMALL, Budget(), {})["params"]
    values = np.stack([macs.of(ALL) / 1e6, params.of(ALL) / 1e5], axis=1)
    least = values.min(axis=0)
    costs = space_costs(SMALL, Budget(macs=least[0] * 1e6 * 1.001, params=least[1] * 1e5 * 1.001), {})
    if costs.feasible(ALL).any():
        assert costs.ensure_reachable() is not None
    else:
        with pytest.raises(InfeasibleBudget, match="together: the nearest exceeds a limit by"):
            costs.ensure_reachable()


# -- candidates and pools --------------------------------------------------------------------------------


def test_a_small_space_is_enumerated_whole_and_a_large_one_is_not() -> None:
    rows = enumerate_codes(SMALL_CODES)
    assert rows is not None and set(keys(rows)) == set(keys(ALL))
    assert len(rows) == SMALL.size == 3969
    assert enumerate_codes(Codes(LARGE)) is None


def test_distinct_keeps_the_first_of_each() -> None:
    rows = np.array([[1, 2], [0, 1], [1, 2], [0, 1], [2, 2]], dtype=np.uint8)
    assert distinct(rows).tolist() == [[1, 2], [0, 1], [2, 2]]


@pytest.mark.parametrize("macs", ["300M", "125M"])  # one network in three, and one in a million
def test_random_networks_are_feasible_and_distinct_whatever_the_budget(macs: str) -> None:
    costs = costs_of(macs, "large")
    problem = FeasibleSpace(Codes(LARGE), costs, costs.ensure_reachable())
    rows = problem.random(200, np.random.default_rng(0))
    assert len(set(keys(rows))) == len(rows) == 200
    assert costs.feasible(rows).all()
    assert (problem.space.canonical(rows) == rows).all()
    seen = frozenset(keys(rows))
    assert not seen & set(keys(problem.random(50, np.random.default_rng(0), seen)))


def test_random_networks_of_a_small_space_are_uniform() -> None:
    problem = FeasibleSpace(SMALL_CODES, costs_of("40M"))
    rng = np.random.default_rng(0)
    drawn = np.concatenate([problem.random(50, rng) for _ in range(400)])
    counts = np.array(list(_counts(drawn).values()))
    assert len(counts) == 502  # all of them
    assert counts.var() < 2 * counts.mean()  # 20,000 draws: a binomial, not a favourite


def _counts(rows: np.ndarray) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for key in keys(rows):
        found[key] = found.get(key, 0) + 1
    return found


def test_mutants_always_differ_and_stay_in_range() -> None:
    rng = np.random.default_rng(0)
    parents = Codes(LARGE).sample(500, rng)
    options = Codes(LARGE).cardinalities
    for rate in (0.0, 0.1, 1.0):
        born = mutate(parents, options, rng, rate)
        assert (born != parents).any(axis=1).all()
        assert (born < np.array(options)).all()
    assert ((mutate(parents, options, rng, 0.0) != parents).sum(axis=1) == 1).all()


def test_a_niche_holds_what_it_is_given() -> None:
    costs = costs_of("300M", "large")
    problem = FeasibleSpace(Codes(LARGE), costs, costs.ensure_reachable())
    niche = Niche(problem, gene=0, option=2)
    rows = niche.proper(problem.random(300, np.random.default_rng(0)), frozenset())
    assert len(rows)
    assert niche.holds(rows).all() and niche.holds(niche.reservoir).all()
    assert costs.feasible(rows).all()


@pytest.mark.parametrize("space", [SMALL, LARGE])
def test_packed_genes_unpack_to_the_same_row_and_are_few(space) -> None:  # type: ignore[no-untyped-def]
    codes = Codes(space)
    packing = Packing(codes)
    for row in codes.sample(50, np.random.default_rng(0)):
        assert (packing.unpack(packing.pack(row)) == row).all()
    assert len(packing.distributions) == 1 + len(space.stages)
