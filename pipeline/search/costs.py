"""What candidates cost and whether that is inside the budget: exact, for whole arrays, before any evaluation."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from latency_tables.blocks import Block
from pipeline.budget import Budget, Limit, violation
from pipeline.errors import InfeasibleBudget, PipelineError
from pipeline.search.candidates import CodeArray, FloatArray
from pipeline.spaces.codes import Codes
from pipeline.spaces.cost import AdditiveCost
from pipeline.spaces.space import SearchSpace

_MULTIPLIER_STEPS: Final = 60


class BlockTable(Protocol):
    """What is needed of a latency table: milliseconds per block, a fixed share, and the upper end of its interval."""

    @property
    def fixed_ms(self) -> float: ...

    @property
    def upper_factor(self) -> float: ...

    def block_ms(self, block: Block, /) -> float: ...


@dataclass(frozen=True, slots=True)
class Cost:
    """One cost of a candidate. A limit on it holds for `value * margin` (the upper end of a table's interval).

    `minimum` returns the smallest value in the space and a row that has it, computed and not sampled.
    """

    name: str
    of: Callable[[CodeArray], FloatArray]
    minimum: Callable[[], tuple[float, CodeArray]]
    margin: float = 1.0


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of a space's candidates and the limits on them.

    `lightest(weights)` is a row that minimises the weighted sum of the costs, in the order of `costs`.
    """

    costs: tuple[Cost, ...]
    limits: tuple[Limit, ...]
    lightest: Callable[[FloatArray], CodeArray]
    describe: Callable[[CodeArray], str]

    def __post_init__(self) -> None:
        known = [cost.name for cost in self.costs]
        for limit in self.limits:
            if limit.name not in known:
                raise PipelineError(f"no cost {limit.name!r} to limit; known are {', '.join(known)}")

    def __getitem__(self, name: str) -> Cost:
        return next(cost for cost in self.costs if cost.name == name)

    def values(self, codes: CodeArray) -> dict[str, FloatArray]:
        """Every cost of every row of `codes` (n, genes), by name, without margins, shape (n,)."""
        return {cost.name: cost.of(codes) for cost in self.costs}

    def violations(self, codes: CodeArray) -> dict[str, FloatArray]:
        """Relative violation of each limit by each row, margins included, shape (n,): at most 0 is inside."""
        return {limit.name: self._violation(limit, codes) for limit in self.limits}

    def feasible(self, codes: CodeArray) -> NDArray[np.bool_]:
        """Which rows of `codes` (n, genes) are inside every limit, shape (n,)."""
        inside = np.ones(len(codes), dtype=bool)
        for limit in self.limits:
            inside &= self._violation(limit, codes) <= 0
        return inside

    def worst_violation(self, codes: CodeArray) -> FloatArray:
        """The largest violation of each row, shape (n,); -inf without limits."""
        worst = np.full(len(codes), -np.inf)
        for limit in self.limits:
            worst = np.maximum(worst, self._violation(limit, codes))
        return worst

    def with_limit(self, name: str, limit: float) -> "Costs":
        """The same costs with the limit on `name` replaced or added."""
        kept = tuple(old for old in self.limits if old.name != name)
        return Costs(self.costs, (*kept, Limit(name, limit)), self.lightest, self.describe)

    def ensure_reachable(self) -> CodeArray | None:
        """A feasible row (1, genes), or None where only sampling can find one.

        Raises InfeasibleBudget with the nearest reachable network: per limit the exact minimum of its cost;
        for limits that exclude each other, a certificate by Lagrange multipliers.
        """
        for limit in self.limits:
            value, row = self[limit.name].minimum()
            if violation(value * self[limit.name].margin, limit.limit) > 0:
                raise InfeasibleBudget(
                    f"no network of this space reaches {limit.name} <= {limit.limit:g}: the least is "
                    f"{self._shown(limit, value)}, reached by {self.describe(row)}"
                )
        return self._jointly_reachable() if self.limits else None

    def _jointly_reachable(self) -> CodeArray | None:
        """Subgradient ascent on the dual of "minimise the worst violation".

        For weights w >= 0 with sum 1, min over networks of sum w_i violation_i bounds the worst violation of
        every network from below; when it is positive no network fits.
        """
        weights = np.full(len(self.limits), 1 / len(self.limits))
        nearest: tuple[float, CodeArray] | None = None
        for step in range(1, _MULTIPLIER_STEPS + 1):
            row = self.lightest(self._cost_weights(weights))
            exceeded = np.array([float(self._violation(limit, row)[0]) for limit in self.limits])
            if exceeded.max() <= 0:
                return row
            if nearest is None or exceeded.max() < nearest[0]:
                nearest = float(exceeded.max()), row
            if weights @ exceeded > 1e-12:
                raise self._excluding(*nearest)
            weights = weights * np.exp(2 * (exceeded - exceeded.max()) / np.ptp(exceeded) / np.sqrt(step))
            weights /= weights.sum()
        return None

    def _cost_weights(self, weights: FloatArray) -> FloatArray:
        by_name = {limit.name: w / limit.limit for limit, w in zip(self.limits, weights, strict=True)}
        return np.array([by_name.get(cost.name, 0.0) * cost.margin for cost in self.costs])

    def _excluding(self, worst: float, row: CodeArray) -> InfeasibleBudget:
        shown = ", ".join(self._shown(limit, float(self[limit.name].of(row)[0])) for limit in self.limits)
        wanted = " and ".join(f"{limit.name} <= {limit.limit:g}" for limit in self.limits)
        return InfeasibleBudget(
            f"no network of this space reaches {wanted} together: the nearest exceeds a limit by {worst:.1%} "
            f"({shown}), reached by {self.describe(row)}"
        )

    def _shown(self, limit: Limit, value: float) -> str:
        margin = self[limit.name].margin
        upper = f" (with its margin {value * margin:.6g})" if margin != 1 else ""
        return f"{limit.name} {value:.6g}{upper}"

    def _violation(self, limit: Limit, codes: CodeArray) -> FloatArray:
        cost = self[limit.name]
        return violation(cost.of(codes) * cost.margin, limit.limit)


def space_costs(
    space: SearchSpace,
    budget: Budget,
    tables: Mapping[str, BlockTable],
    bytes_per_param: float = 4.0,
    main_device: str | None = None,
) -> Costs:
    """The costs of a search space: latency on each table's device, MACs, parameters, file size (weights only).

    With one table its cost is `latency_ms`; with several that of `main_device`, the others' `latency_ms.<device>`.
    Raises PipelineError where the budget limits the latency of a device that has no table, or where a table's numbers
    add up to no time.
    """
    main_device = next(iter(tables)) if len(tables) == 1 else main_device
    block_costs = dict(_block_costs(tables, bytes_per_param, main_device))
    additive = {name: AdditiveCost(space, of, fixed) for name, (of, fixed, _) in block_costs.items()}
    for name in additive.keys() - {"macs", "params", "size_mb"}:
        if not 0 < (least := additive[name].minimum()[0]) < math.inf:
            raise PipelineError(f"the table behind {name} predicts {least:g} ms for a network; measure it again")
    codes = Codes(space)

    def lightest(weights: FloatArray) -> CodeArray:
        def weighted(block: Block) -> float:
            terms = zip(weights.tolist(), block_costs.values(), strict=True)
            return float(sum(w * of(block) for w, (of, _, _) in terms if w))

        return codes.encode([AdditiveCost(space, weighted).minimum()[1]])

    def minimum_of(cost: AdditiveCost) -> Callable[[], tuple[float, CodeArray]]:
        def minimum() -> tuple[float, CodeArray]:
            value, arch = cost.minimum()
            return value, codes.encode([arch])

        return minimum

    costs = tuple(
        Cost(name, additive[name], minimum_of(additive[name]), margin) for name, (_, _, margin) in block_costs.items()
    )
    return Costs(costs, tuple(_limits(budget, tables, main_device)), lightest, lambda row: str(codes.decode(row)[0]))


def _block_costs(
    tables: Mapping[str, BlockTable], bytes_per_param: float, main_device: str | None
) -> Iterator[tuple[str, tuple[Callable[[Block], float], float, float]]]:
    """(name, (cost of a block, fixed share, margin)) of every cost."""
    for device, table in tables.items():
        yield _latency_name(device, main_device), (table.block_ms, table.fixed_ms, table.upper_factor)
    yield "macs", (lambda block: float(block.macs), 0.0, 1.0)
    yield "params", (lambda block: float(block.params), 0.0, 1.0)
    yield "size_mb", (lambda block: block.params * bytes_per_param / 1e6, 0.0, 1.0)


def _latency_name(device: str, main_device: str | None) -> str:
    return "latency_ms" if device == main_device else f"latency_ms.{device}"


def _limits(budget: Budget, tables: Mapping[str, BlockTable], main_device: str | None) -> Iterator[Limit]:
    known = ", ".join(tables) or "none"
    if isinstance(budget.latency_ms, Mapping):
        for device, limit in budget.latency_ms.items():
            if device not in tables:
                raise PipelineError(f"the budget limits latency on {device!r}, which has no table; known are {known}")
            yield Limit(_latency_name(device, main_device), limit)
    elif budget.latency_ms is not None:
        if main_device is None:
            raise PipelineError(
                f"latency_ms = {budget.latency_ms:g} names no device, but there are {len(tables)} tables "
                f"({known}); write latency_ms = {{ device = milliseconds }}"
            )
        yield Limit("latency_ms", budget.latency_ms)
    yield from (limit for limit in budget.limits() if limit.name in ("macs", "params", "size_mb"))
