"""From rows measured alone to what each block adds to a whole network.

A network's latency is `fixed_ms + sum(network_ms[block])`: still a sum over blocks, so a search looks it up,
but the rows are corrected by whole networks that were measured. The methods differ in what they correct:

none    nothing: the sum of the rows
scale   one factor for all rows
affine  a factor, a constant per block (what calling a model costs), and a constant per network
terms   also factors per kind, kernel, stride, activation, channels and input size, and boundary terms:
        bytes read, written, kept inside, and of weights
blocks  also a deviation of every single block

`affine`, `terms` and `blocks` are one Gaussian model with wider and wider priors around the rows; its most
probable costs are a ridge regression on relative residuals (Rasmussen and Williams 2006, section 2.1), under
the condition that no block costs less than a tenth of its row. `calibrate` takes the method and the priors with
the smallest cross-validated error on the networks that it is given, and the simpler where two are as good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from latency_tables.blocks import Block
from latency_tables.errors import TableError

Array = NDArray[np.float64]

_FOLDS: Final = 5
_MIN_NETWORKS: Final = 10  # below that, a factor is all that can be fitted
_NOISE: Final = 0.02  # relative deviation of a measured network; only its ratio to the priors matters
_LEAST: Final = 0.1  # of its row, that a block costs in a network
_ROUNDS: Final = 10
_AS_GOOD: Final = 1.02


@dataclass(frozen=True, slots=True)
class MeasuredNetwork:
    """A whole network and the milliseconds that it took."""

    blocks: tuple[Block, ...]
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The milliseconds that each block adds, what every network takes beside, and how that was found.

    `terms` are readable: the mean factor from rows to costs, the priors, and the cross-validated errors of the
    methods tried.
    """

    method: str
    network_ms: dict[Block, float]
    fixed_ms: float
    terms: dict[str, float]


@dataclass(frozen=True, slots=True)
class CorrectionPrior:
    """How far the corrections may go, as relative deviations: of groups of blocks, and of single blocks."""

    method: str
    groups: float = 0.0
    blocks: float = 0.0


METHODS: Final[dict[str, tuple[CorrectionPrior, ...]]] = {
    "none": (CorrectionPrior("none"),),
    "scale": (CorrectionPrior("scale"),),
    "affine": (CorrectionPrior("affine"),),
    "terms": tuple(CorrectionPrior("terms", groups) for groups in (0.03, 0.1, 0.3)),
    "blocks": tuple(CorrectionPrior("blocks", groups, own) for groups in (0.03, 0.1, 0.3) for own in (0.02, 0.05, 0.1)),
}


def calibrate(
    rows_ms: Mapping[Block, float], networks: Sequence[MeasuredNetwork], method: str | None = None
) -> Calibrated:
    """The correction of `rows_ms` that predicts `networks` best, or that of the `method` asked for.

    Raises TableError for a method that is not known, or a network with a block that has no row.
    """
    if method is not None and method not in METHODS:
        raise TableError(f"calibration {method!r} is unknown; known are {', '.join(METHODS)}")
    model = _Model(rows_ms)
    counts, latency_ms = model.counts(networks), np.array([network.latency_ms for network in networks])
    tried = METHODS if method is None else {method: METHODS[method]}
    errors = {
        prior: _cross_validated_percent(model, prior, counts, latency_ms)
        for priors in tried.values()
        for prior in priors
    }
    # Of methods that are as good as equal, the first: it has the fewest freedoms.
    enough = _AS_GOOD * min(errors.values())
    best = min((p for p in errors if errors[p] <= enough), key=lambda p: (list(tried).index(p.method), errors[p]))
    costs = model.fit(best, counts, latency_ms)
    terms = {f"cv_mape_percent.{name}": min(errors[prior] for prior in priors) for name, priors in tried.items()}
    terms |= {"prior.groups": best.groups, "prior.blocks": best.blocks}
    terms["mean_factor"] = float(costs[:-1].sum() / model.rows_ms[:-1].sum())
    finite = {name: value for name, value in terms.items() if np.isfinite(value)}
    network_ms = dict(zip(model.blocks, costs[:-1].tolist(), strict=True))
    return Calibrated(best.method, network_ms, float(costs[-1]), finite)


def _cross_validated_percent(model: "_Model", prior: CorrectionPrior, counts: Array, latency_ms: Array) -> float:
    """Mean absolute error in percent of networks predicted from a fit on the others; infinite if too few."""
    n = len(latency_ms)
    if prior.method == "none":
        return float(100 * np.abs(counts @ model.rows_ms / latency_ms - 1).mean()) if n else 0.0
    if n < (2 if prior.method == "scale" else _MIN_NETWORKS):
        return float("inf")
    fold = np.arange(n) % min(_FOLDS, n)
    off = np.empty(n)
    for number in range(int(fold.max()) + 1):
        held = fold == number
        costs = model.fit(prior, counts[~held], latency_ms[~held])
        off[held] = np.abs(counts[held] @ costs / latency_ms[held] - 1)
    return float(100 * off.mean())


class _Model:
    """Costs as a vector over blocks, with a last entry for what every network takes beside them."""

    def __init__(self, rows_ms: Mapping[Block, float]) -> None:
        if not rows_ms:
            raise TableError("there are no rows to calibrate")
        self.blocks = tuple(rows_ms)
        self._index = {block: number for number, block in enumerate(self.blocks)}
        self.rows_ms = np.array([*rows_ms.values(), 0.0])
        self._groups = _group_columns(self.blocks, self.rows_ms)

    def counts(self, networks: Sequence[MeasuredNetwork]) -> Array:
        """How often each network has each block, shape (networks, blocks + 1); the last column is 1."""
        counts = np.zeros((len(networks), len(self.rows_ms)))
        counts[:, -1] = 1.0
        for row, network in enumerate(networks):
            for block in network.blocks:
                if block not in self._index:
                    raise TableError(f"block {block.key!r} of a measured network has no row")
                counts[row, self._index[block]] += 1
        return counts

    def fit(self, prior: CorrectionPrior, counts: Array, latency_ms: Array) -> Array:
        """The costs that explain the networks best and that `prior` allows, in milliseconds."""
        if prior.method == "none":
            return self.rows_ms
        total = counts @ self.rows_ms
        relative = total / latency_ms
        mean: Array = self.rows_ms * (relative.sum() / (relative @ relative))
        if prior.method == "scale":
            return mean
        covariance = self._covariance(prior, float(latency_ms.mean()))
        least = _LEAST * self.rows_ms
        observed, target, noise = counts, latency_ms, _NOISE * latency_ms
        held = np.zeros(len(mean), dtype=bool)
        for _ in range(_ROUNDS):
            gain = observed @ covariance
            costs: Array = mean + gain.T @ np.linalg.solve(
                gain @ observed.T + np.diag(noise**2), target - observed @ mean
            )
            below = (costs < least) & ~held
            if not below.any():
                break
            # A block that would cost less is observed to cost just that (an active set that only grows).
            held |= below
            observed = np.concatenate([counts, np.eye(len(mean))[held]])
            target = np.concatenate([latency_ms, least[held]])
            noise = np.concatenate([_NOISE * latency_ms, np.full(held.sum(), 1e-4 * float(least.max()))])
        return np.maximum(costs, least)

    def _covariance(self, prior: CorrectionPrior, latency_ms: float) -> Array:
        """The prior covariance of the costs, in square milliseconds."""
        per_block = np.append(np.full(len(self.blocks), self.rows_ms[:-1].mean()), 0.0)
        per_network = np.append(np.zeros(len(self.blocks)), 0.1 * latency_ms)
        columns = np.stack([self.rows_ms, per_block, per_network, *(prior.groups * c for c in self._groups)], axis=1)
        # A trace of freedom for every cost keeps the matrix invertible.
        own = np.maximum(prior.blocks, 1e-3) * np.append(self.rows_ms[:-1], 1e-3 * latency_ms)
        return np.asarray(columns @ columns.T + np.diag(own**2))


def _group_columns(blocks: Sequence[Block], rows_ms: Array) -> list[Array]:
    """Per group of blocks a column: their rows, in milliseconds; per boundary term one of bytes of that size."""
    columns: dict[str, Array] = {}
    for number, block in enumerate(blocks):
        for group in _groups(block):
            columns.setdefault(group, np.zeros(len(rows_ms)))[number] = rows_ms[number]
    sizes = {
        # Alone, a block reads and writes the caller's tensors, in the caller's layout; inside, its neighbours'.
        "read": [block.in_channels * block.in_size**2 for block in blocks],
        "written": [block.out_channels * block.out_size**2 for block in blocks],
        "inside": [block.mid_channels * block.in_size**2 for block in blocks],
        # Alone, a block finds its weights in the cache.
        "weights": [block.params for block in blocks],
    }
    for name, values in sizes.items():
        if sum(values):
            columns[name] = np.append(np.array(values, float) * (rows_ms.sum() / sum(values)), 0.0)
    return list(columns.values())


def _groups(block: Block) -> tuple[str, ...]:
    size = f"size{block.in_size}"
    if block.kind != "mbconv":
        return (block.kind, size)
    return (
        f"mbconv se={block.se_channels > 0} res={block.residual}",
        f"kernel{block.kernel}",
        f"stride{block.stride}",
        block.activation,
        f"channels{block.out_channels}",
        size,
    )
