"""From rows measured alone to what each block adds to a whole network.

A network's latency is `fixed_ms + sum(network_ms[block])`: still a sum over blocks, so a search looks it up,
but the rows are corrected by whole networks that were measured. The methods differ in what they correct:

none    nothing: the sum of the rows
scale   one factor for all rows
terms   a factor and a constant per kind of block, and boundary terms: bytes read, written, kept inside, weights
blocks  those, and a deviation of each single block, all shrunk towards the rows (ridge, relative residuals)

`calibrate` takes the method with the smallest cross-validated error on the networks it is given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from latency_tables.blocks import Block
from latency_tables.errors import TableError

Array = NDArray[np.float64]

_FOLDS = 5
# Prior variances of the corrections against the variance of the residuals. A correction of 10 % and residuals
# of 1 % give 100; cross-validation chooses.
_TERM_PRIORS: Final = (10.0, 100.0, 1000.0)
_BLOCK_PRIORS: Final = (1.0, 10.0, 50.0, 200.0)


@dataclass(frozen=True, slots=True)
class MeasuredNetwork:
    """A whole network and the milliseconds that it took."""

    blocks: tuple[Block, ...]
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The milliseconds that each block adds, what every network takes beside, and how that was found.

    `terms` are readable: factors of rows, milliseconds, and the cross-validated errors of the methods tried.
    """

    method: str
    network_ms: dict[Block, float]
    fixed_ms: float
    terms: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Prior:
    """One setting of a method: which corrections it makes, and how far each may go."""

    method: str
    scaled: bool
    terms: float = 0.0
    blocks: float = 0.0


def methods() -> dict[str, tuple[_Prior, ...]]:
    """The settings that are tried for each method, by name."""
    return {
        "none": (_Prior("none", False),),
        "scale": (_Prior("scale", True),),
        "terms": tuple(_Prior("terms", True, terms) for terms in _TERM_PRIORS),
        "blocks": tuple(_Prior("blocks", True, t, b) for t in _TERM_PRIORS for b in _BLOCK_PRIORS),
    }


def calibrate(
    rows_ms: Mapping[Block, float], networks: Sequence[MeasuredNetwork], method: str | None = None
) -> Calibrated:
    """The correction of `rows_ms` that predicts `networks` best, or that of the `method` asked for.

    Raises TableError for a method that is not known, or a network with a block that has no row.
    """
    known = methods()
    if method is not None and method not in known:
        raise TableError(f"calibration {method!r} is unknown; known are {', '.join(known)}")
    design = _Design(rows_ms)
    counts, latency_ms = design.counts(networks), np.array([n.latency_ms for n in networks])
    tried = known if method is None else {method: known[method]}
    errors: dict[_Prior, float] = {}
    for settings in tried.values():
        for prior in settings:
            errors[prior] = _cross_validated_percent(design, prior, counts, latency_ms)
    best = min(errors, key=lambda prior: errors[prior])
    correction = design.fit(best, counts, latency_ms)
    terms = {f"cv_mape_percent.{name}": min(errors[p] for p in settings) for name, settings in tried.items()}
    terms |= design.describe(best, correction)
    costs = np.maximum(0.0, design.costs_ms(correction))
    fixed_ms = float(correction[0])
    return Calibrated(best.method, dict(zip(design.blocks, costs.tolist(), strict=True)), fixed_ms, terms)


def _cross_validated_percent(design: "_Design", prior: _Prior, counts: Array, latency_ms: Array) -> float:
    """Mean absolute error in percent of networks predicted from a fit on the others."""
    n = len(latency_ms)
    if not n:
        return 0.0 if prior.method == "none" else float("inf")
    if n < 2 * _FOLDS and prior.method in ("terms", "blocks"):
        return float("inf")
    fold = np.arange(n) % min(_FOLDS, n)
    off = np.empty(n)
    for number in range(int(fold.max()) + 1):
        held = fold == number
        correction = design.fit(prior, counts[~held], latency_ms[~held])
        predicted = correction[0] + counts[held] @ design.costs_ms(correction)
        off[held] = np.abs(predicted / latency_ms[held] - 1)
    return float(100 * off.mean())


class _Design:
    """What a correction consists of, as columns over blocks: `correction = [fixed, factor, terms, deviations]`."""

    def __init__(self, rows_ms: Mapping[Block, float]) -> None:
        self.blocks = tuple(rows_ms)
        self._index = {block: number for number, block in enumerate(self.blocks)}
        self.rows_ms = np.array([rows_ms[block] for block in self.blocks])
        named = {name: values for name, values in _term_columns(self.blocks, self.rows_ms).items() if values.any()}
        # Terms in milliseconds and in bytes are brought to the size of a row, so that one prior fits all.
        self.scales = np.array([self.rows_ms.sum() / np.abs(values).sum() for values in named.values()])
        self.terms = np.stack(list(named.values()), axis=1) * self.scales
        self.names = list(named)

    def counts(self, networks: Sequence[MeasuredNetwork]) -> Array:
        """How often each network has each block, shape (networks, blocks)."""
        counts = np.zeros((len(networks), len(self.blocks)))
        for row, network in enumerate(networks):
            for block in network.blocks:
                if block not in self._index:
                    raise TableError(f"block {block.key!r} of a measured network has no row")
                counts[row, self._index[block]] += 1
        return counts

    def fit(self, prior: _Prior, counts: Array, latency_ms: Array) -> Array:
        """Ridge regression on relative residuals; with n networks and p corrections it solves an n x n system."""
        correction = np.zeros(2 + len(self.names) + len(self.blocks))
        correction[1] = 1.0
        if not prior.scaled or not len(latency_ms):
            return correction
        total = counts @ self.rows_ms
        # The factor is free: it is fitted first, the rest explains what it leaves.
        relative = total / latency_ms
        correction[1] = relative.sum() / (relative @ relative)
        if not prior.terms:
            return correction
        columns = np.concatenate(
            [
                np.full((len(total), 1), float(total.mean())) * np.sqrt(prior.terms),
                total[:, None] * np.sqrt(prior.terms),
                counts @ self.terms * np.sqrt(prior.terms),
                counts * self.rows_ms * np.sqrt(prior.blocks),
            ],
            axis=1,
        )
        weighted = columns / latency_ms[:, None]
        left = 1 - correction[1] * relative
        dual = np.linalg.solve(weighted @ weighted.T + np.eye(len(left)), left)
        step = weighted.T @ dual
        kinds = np.full(len(step), np.sqrt(prior.terms))
        kinds[2 + len(self.names) :] = np.sqrt(prior.blocks)
        step *= kinds
        step[0] *= float(total.mean())
        return correction + step

    def costs_ms(self, correction: Array) -> Array:
        """Milliseconds that each block adds, shape (blocks,)."""
        terms, deviations = correction[2 : 2 + len(self.names)], correction[2 + len(self.names) :]
        costs: Array = self.rows_ms * (correction[1] + deviations) + self.terms @ terms
        return costs

    def describe(self, prior: _Prior, correction: Array) -> dict[str, float]:
        """The corrections that a person can read: the factor, and each term in its own unit."""
        readable = {"factor": float(correction[1])} if prior.scaled else {}
        if prior.terms:
            readable |= {
                name: float(value * scale)
                for name, value, scale in zip(self.names, correction[2:], self.scales, strict=False)
            }
        if prior.blocks:
            deviations = correction[2 + len(self.names) :]
            readable["block_deviation_rms"] = float(np.sqrt(np.mean(deviations**2)))
        return readable


def _term_columns(blocks: Sequence[Block], rows_ms: Array) -> dict[str, Array]:
    """Per name a column over `blocks`: a row's milliseconds where it is of a group, 1 per block, or bytes."""
    columns: dict[str, list[float]] = {}

    def put(name: str, number: int, value: float) -> None:
        columns.setdefault(name, [0.0] * len(blocks))[number] = value

    for number, block in enumerate(blocks):
        milliseconds = float(rows_ms[number])
        for group in _groups(block):
            put(f"factor.{group}", number, milliseconds)
        put(f"ms.{block.kind}", number, 1.0)
        # Alone, a block reads and writes the caller's tensors, in the caller's layout; inside, its neighbours'.
        put("ms_per_megabyte.in", number, 4e-6 * block.in_channels * block.in_size**2)
        put("ms_per_megabyte.out", number, 4e-6 * block.out_channels * block.out_size**2)
        put("ms_per_megabyte.inside", number, 4e-6 * block.mid_channels * block.in_size**2)
        # Alone, a block finds its weights in the cache.
        put("ms_per_megabyte.weights", number, 4e-6 * block.params)
    return {name: np.array(values) for name, values in columns.items()}


def _groups(block: Block) -> tuple[str, ...]:
    if block.kind != "mbconv":
        return (block.kind,)
    return (
        "mbconv" + (".squeeze" if block.se_channels else "") + (".residual" if block.residual else ""),
        f"kernel{block.kernel}",
        f"stride{block.stride}",
        block.activation,
        f"channels{block.out_channels}",
    )
