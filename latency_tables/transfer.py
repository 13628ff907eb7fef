"""A new device from 10 to 50 whole-network measurements, given what the same networks cost on other devices.

The new device's latency is a linear function of the networks' latencies on the known devices and of further
features (MACs, counts of operators). Bayesian linear regression: the prior holds that the new device is the
known devices' mean, plus some of each one's own deviation, plus some of each feature. How much of each and
how noisy is not fixed: models over a grid are averaged by their evidence (MacKay 1992; Rasmussen and
Williams 2006, eq. 2.11 and 5.8). Being linear, it also turns a table of blocks into one of the new device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from latency_tables.accuracy import error_report
from latency_tables.errors import TableError
from latency_tables.table import ErrorReport

Array = NDArray[np.float64]

MIN_MEASURED: Final = 5
# Prior deviations, in units of the new device's own deviation over networks.
_OFFSET, _MEAN_DEVICE, _MACS = 3.0, 1.5, 0.75
_OWN_DEVICE: Final = (0.3, 1.0, 2.0)
_FEATURES: Final = (0.1, 0.3, 1.0)
_NOISE_VARIANCE: Final = (0.003, 0.01, 0.03, 0.1, 0.3)


@dataclass(frozen=True, slots=True)
class Networks:
    """What is known of n networks: latencies on d known devices (n, d), MACs (n,), and f further features (n, f).

    They are the population that the new device is predicted for; the measured ones are among them.
    """

    sources_ms: Array
    macs: Array
    features: Array

    def __post_init__(self) -> None:
        n = len(self.macs)
        if self.sources_ms.shape[:1] != (n,) or self.features.shape[:1] != (n,) or not self.sources_ms.shape[1]:
            raise TableError("a transfer needs a latency on at least one known device, MACs and features per network")
        if not all(np.isfinite(values).all() for values in (self.sources_ms, self.macs, self.features)):
            raise TableError("a transfer needs finite latencies, MACs and features of every network")


@dataclass(frozen=True, slots=True)
class Transferred:
    """Latency on the new device = offset_ms + columns @ weights, the columns being sources, MACs, features.

    `latency_ms` are the predictions for all networks; `error` is of each measured network predicted from the
    other measured ones.
    """

    latency_ms: Array
    offset_ms: float
    source_weights: Array
    macs_weight: float
    feature_weights: Array
    error: ErrorReport


def choose_networks(networks: Networks, count: int, rng: np.random.Generator, pool: int = 1000) -> list[int]:
    """Which `count` networks to measure so that they tell most: each in turn the one the prior is least sure of.

    Greedy choice (D-optimal) among `pool` random ones. TableError where there are fewer networks than asked for.
    """
    total = len(networks.macs)
    if not MIN_MEASURED <= count <= total:
        raise TableError(f"choose between {MIN_MEASURED} and {total} networks to measure, not {count}")
    candidates = rng.choice(total, size=min(max(pool, count), total), replace=False)
    columns = _prior_columns(networks).scaled(1.0, 0.3)[candidates]
    variance = (columns**2).sum(axis=1)
    explained = np.zeros((0, len(candidates)))
    chosen: list[int] = []
    for _ in range(count):
        best = int(np.argmax(variance))
        chosen.append(best)
        step = (columns @ columns[best] - explained.T @ explained[:, best]) / np.sqrt(variance[best] + 0.05)
        explained = np.vstack([explained, step])
        variance = np.maximum(variance - step**2, 0.0)
        variance[chosen] = -1.0
    return [int(candidates[index]) for index in chosen]


def transfer(networks: Networks, measured: Sequence[int], measured_ms: Sequence[float]) -> Transferred:
    """Predict every network on a new device on which those numbered `measured` took `measured_ms`.

    Raises TableError with fewer than 5 measurements, or where they are no latencies.
    """
    index, latency_ms = np.asarray(measured, int), np.asarray(measured_ms, float)
    if len(index) != len(latency_ms) or len(set(measured)) < max(MIN_MEASURED, len(index)):
        raise TableError(f"a transfer needs at least {MIN_MEASURED} different measured networks, not {len(index)}")
    if not (np.isfinite(latency_ms).all() and (latency_ms > 0).all()):
        raise TableError("measured latencies must be positive milliseconds")
    prior = _prior_columns(networks)
    centre, scale = float(latency_ms.mean()), float(latency_ms.std()) or 1.0
    weights, left_out = _average(prior, index, (latency_ms - centre) / scale)
    predicted = prior.columns @ weights * scale + centre
    offset, source, macs, feature = prior.in_own_units(weights)
    error = error_report(np.maximum(left_out * scale + centre, latency_ms.min() / 10).tolist(), latency_ms.tolist())
    return Transferred(predicted, offset * scale + centre, source * scale, macs * scale, feature * scale, error)


@dataclass(frozen=True, slots=True)
class _PriorColumns:
    """Standardised columns [1, mean device, MACs, deviations of devices, features], and how they came about."""

    columns: Array
    means: Array
    deviations: Array
    mixing: Array
    devices: int

    def priors(self, own: float, features: float) -> Array:
        """The prior deviation of each column's weight."""
        rest = self.columns.shape[1] - 3 - self.devices
        fixed = [_OFFSET, _MEAN_DEVICE, _MACS]
        return np.array(
            [*fixed, *[own / np.sqrt(self.devices)] * self.devices, *[features / np.sqrt(max(1, rest))] * rest]
        )

    def scaled(self, own: float, features: float) -> Array:
        """The columns times their priors."""
        return self.columns * self.priors(own, features)

    def in_own_units(self, weights: Array) -> tuple[float, Array, float, Array]:
        """Offset, and weights per millisecond of each source, per MAC, and per unit of each feature."""
        plain = self.mixing @ weights[1:] / self.deviations
        offset = float(weights[0] - plain @ self.means)
        return offset, plain[: self.devices], float(plain[self.devices]), plain[self.devices + 1 :]


def _prior_columns(networks: Networks) -> _PriorColumns:
    """Plain columns are [sources, MACs, features]; the prior's are linear mixtures of them, standardised."""
    plain = np.concatenate([networks.sources_ms, networks.macs[:, None], networks.features], axis=1)
    means, deviations = plain.mean(axis=0), plain.std(axis=0)
    deviations[deviations < 1e-12 * np.maximum(1.0, np.abs(means))] = np.inf  # constant: carries nothing
    standard = (plain - means) / deviations
    devices, width = networks.sources_ms.shape[1], plain.shape[1]
    mixing = np.zeros((width, 2 + devices + width - devices - 1))
    spread = float((standard[:, :devices].mean(axis=1)).std()) or 1.0
    mixing[:devices, 0] = 1 / devices / spread
    mixing[devices, 1] = 1.0
    mixing[:devices, 2 : 2 + devices] = np.eye(devices) - 1 / devices
    mixing[devices + 1 :, 2 + devices :] = np.eye(width - devices - 1)
    columns = np.concatenate([np.ones((len(plain), 1)), standard @ mixing], axis=1)
    return _PriorColumns(columns, means, deviations, mixing, devices)


def _average(prior: _PriorColumns, index: NDArray[np.int_], target: Array) -> tuple[Array, Array]:
    """Weights of the columns averaged over the grid by evidence, and each measurement predicted without itself."""
    evidences, weights, left_out = [], [], []
    for own, features, noise in product(_OWN_DEVICE, _FEATURES, _NOISE_VARIANCE):
        scales = prior.priors(own, features)
        columns = prior.columns[index] * scales
        covariance = columns @ columns.T + noise * np.eye(len(index))
        inverse = np.linalg.inv(covariance)
        solved = inverse @ target
        evidences.append(-0.5 * (target @ solved + np.linalg.slogdet(covariance)[1]))
        weights.append(scales * (columns.T @ solved))
        left_out.append(target - solved / np.diag(inverse))
    share = np.exp(np.array(evidences) - max(evidences))
    share /= share.sum()
    return share @ np.array(weights), share @ np.array(left_out)
