"""What the parts of networks cost, found from whole-network measurements alone."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from latency_tables.accuracy import error_report
from latency_tables.blocks import Block
from latency_tables.build import provenance_now
from latency_tables.calibration import MeasuredNetwork
from latency_tables.errors import TableError
from latency_tables.table import Calibration, DeviceInfo, LatencyTable, Row

Array = NDArray[np.float64]
Part = TypeVar("Part", bound=Hashable)

_ROUNDS = 30
_HELD_OUT = 5  # every fifth network judges the fit


@dataclass(frozen=True, slots=True)
class AdditiveFit(Generic[Part]):
    """latency = fixed_ms + sum of cost_ms[part] over a network's parts, in milliseconds."""

    fixed_ms: float
    cost_ms: dict[Part, float]

    def predict(self, networks: Sequence[Sequence[Part]]) -> Array:
        """Milliseconds of each network, shape (n,). TableError names parts that the fit has never seen."""
        unseen = {part for network in networks for part in network if part not in self.cost_ms}
        if unseen:
            named = ", ".join(sorted(map(str, unseen)))
            raise TableError(f"{len(unseen)} part(s) were in no measured network: {named}")
        return np.array([self.fixed_ms + sum(self.cost_ms[part] for part in network) for network in networks])


def fit_additive(
    networks: Sequence[Sequence[Part]], latency_ms: Sequence[float], nonnegative: bool = False
) -> AdditiveFit[Part]:
    """The additive costs that explain `latency_ms` best, a part counting as often as it occurs.

    Huber's M-estimate by iteratively reweighted least squares: public measurements have heavy tails, and a few
    bad ones would spoil plain least squares. Where only sums are identifiable (each network has one operator
    per layer), the solution of least norm is taken, which predicts the same. With `nonnegative` no cost is
    below 0 (Lawson and Hanson 1974).
    """
    if not networks or len(networks) != len(latency_ms):
        raise TableError("a regression needs networks, and one latency for each")
    target = np.asarray(latency_ms, float)
    if not (np.isfinite(target).all() and (target >= 0).all()):
        raise TableError("measured latencies must be milliseconds of at least 0")
    parts = list(dict.fromkeys(part for network in networks for part in network))
    index = {part: number for number, part in enumerate(parts, 1)}
    counts = np.zeros((len(networks), len(parts) + 1))
    counts[:, 0] = 1.0
    for row, network in enumerate(networks):
        for part in network:
            counts[row, index[part]] += 1
    costs = _robust(counts, target, nonnegative)
    return AdditiveFit(float(costs[0]), {part: float(costs[number]) for part, number in index.items()})


def _robust(counts: Array, target: Array, nonnegative: bool) -> Array:
    weights = np.ones(len(target))
    costs = _solve(counts, target, nonnegative)
    for _ in range(_ROUNDS):
        residuals = np.abs(target - counts @ costs)
        # The scale of a normal distribution with that median deviation; never 0, where the fit is exact.
        scale = max(1.4826 * float(np.median(residuals)), 1e-9 * float(target.max()), 1e-12)
        before, weights = weights, np.minimum(1.0, 1.345 * scale / np.maximum(residuals, 1e-300))
        root = np.sqrt(weights)
        costs = _solve(counts * root[:, None], target * root, nonnegative)
        if np.abs(weights - before).max() < 1e-3:
            break
    return costs


def _solve(counts: Array, target: Array, nonnegative: bool) -> Array:
    if nonnegative:
        from scipy.optimize import nnls

        return np.asarray(nnls(counts, target)[0])
    return np.asarray(np.linalg.lstsq(counts, target, rcond=None)[0])


def table_from_networks(networks: Sequence[MeasuredNetwork], device: str, source: str) -> LatencyTable:
    """A table of `device` from whole networks measured elsewhere; every fifth different one of them only judges it.

    A network that was measured several times is one network: all its measurements are on one side, and their median
    judges. Rows are not what a block takes alone but what it adds to a network. TableError with fewer than 10.
    """
    if not device.strip():
        raise TableError(f"the device's name is {device!r}; a table needs to say what it is of")
    times: dict[tuple[Block, ...], list[float]] = {}
    for network in networks:
        times.setdefault(tuple(network.blocks), []).append(network.latency_ms)
    different = list(times)
    held_out = set(different[_HELD_OUT - 1 :: _HELD_OUT])
    if len(held_out) < 2:
        raise TableError(
            f"a table needs at least {2 * _HELD_OUT} different measured networks, not {len(different)}"
            f" ({len(networks)} measurements)"
        )
    fitted = [network for network in networks if tuple(network.blocks) not in held_out]
    fit = fit_additive([n.blocks for n in fitted], [n.latency_ms for n in fitted], nonnegative=True)
    judged = [blocks for blocks in different if blocks in held_out and all(block in fit.cost_ms for block in blocks)]
    error = None
    if len(judged) > 1:
        error = error_report(fit.predict(judged).tolist(), [median(times[blocks]) for blocks in judged])
    return LatencyTable(
        device=DeviceInfo(name=device, runtime="unknown"),
        calibration=Calibration(method="regression", networks=len(different) - len(held_out), fixed_ms=fit.fixed_ms),
        error=error,
        provenance=provenance_now(source, notes=["rows are what a block adds to a network, by regression"]),
        rows=_rows(fit, fitted),
    )


def _rows(fit: AdditiveFit[Block], fitted: Sequence[MeasuredNetwork]) -> dict[str, Row]:
    networks_with = dict.fromkeys(fit.cost_ms, 0)
    for network in fitted:
        for block in set(network.blocks):
            networks_with[block] += 1
    return {
        block.key: Row(median_ms=cost, network_ms=cost, samples=networks_with[block])
        for block, cost in fit.cost_ms.items()
    }
