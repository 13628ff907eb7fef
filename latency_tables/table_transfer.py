"""The table of a new device from that of another one and a few whole networks measured on the new one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latency_tables.accuracy import error_report
from latency_tables.blocks import KINDS, Block, total_macs
from latency_tables.build import provenance_now
from latency_tables.calibration import MeasuredNetwork
from latency_tables.errors import TableError
from latency_tables.table import Calibration, DeviceInfo, LatencyTable, Row
from latency_tables.transfer import Networks, choose_networks, transfer

Array = NDArray[np.float64]
Blocks = tuple[Block, ...]


@dataclass(frozen=True)
class TableTransfer:
    """Tables of known devices, and networks of a space that they all cover: what a new device is likened to."""

    sources: tuple[LatencyTable, ...]
    population: tuple[Blocks, ...]

    def __post_init__(self) -> None:
        if not self.sources:
            raise TableError("a transfer needs the table of at least one known device")

    def choose(self, count: int, rng: np.random.Generator) -> list[int]:
        """Which `count` networks of the population to measure on the new device, those that tell most."""
        return choose_networks(self._networks(), count, rng)

    def table(
        self,
        measured: Sequence[int],
        measured_ms: Sequence[float],
        device: DeviceInfo,
        held_out: Sequence[MeasuredNetwork] = (),
    ) -> LatencyTable:
        """The new device's table; `measured` number networks of the population, `held_out` ones judge it.

        Without held-out networks its error is that of each measured one predicted from the others.
        """
        result = transfer(self._networks(), measured, measured_ms)
        blocks = self._blocks()
        costs = _source_costs(self.sources, blocks) @ result.source_weights
        costs += np.array([block.macs for block in blocks], float) * result.macs_weight
        costs += _features(blocks) @ result.feature_weights
        # A weight below zero can push a block's cost below zero: there it stops.
        network_ms = dict(zip(blocks, np.maximum(costs, 0.0).tolist(), strict=True))
        error = result.error
        if len(held_out) > 1:
            predicted = [result.offset_ms + sum(network_ms[b] for b in network.blocks) for network in held_out]
            error = error_report(predicted, [network.latency_ms for network in held_out])
        names = ", ".join(source.device.name for source in self.sources)
        return LatencyTable(
            device=device,
            calibration=Calibration(method="transfer", networks=len(measured), fixed_ms=result.offset_ms),
            error=error,
            provenance=provenance_now(
                f"transferred from {names}", notes=["no row was measured on this device: they come from whole networks"]
            ),
            rows={block.key: Row(median_ms=cost, network_ms=cost) for block, cost in network_ms.items()},
        )

    def _networks(self) -> Networks:
        blocks = self._blocks()
        index = {block: number for number, block in enumerate(blocks)}
        counts = np.zeros((len(self.population), len(blocks)))
        for row, network in enumerate(self.population):
            for block in network:
                counts[row, index[block]] += 1
        fixed = np.array([source.fixed_ms for source in self.sources])
        macs = np.array([total_macs(network) for network in self.population], float)
        return Networks(counts @ _source_costs(self.sources, blocks) + fixed, macs, counts @ _features(blocks))

    def _blocks(self) -> Blocks:
        return tuple(dict.fromkeys(block for network in self.population for block in network))


def _source_costs(sources: Sequence[LatencyTable], blocks: Sequence[Block]) -> Array:
    """What each block adds on each known device, shape (blocks, sources). MissingRows lists those that lack."""
    for source in sources:
        source.network_ms(blocks)
    return np.array([[source.block_ms(block) for source in sources] for block in blocks])


def _features(blocks: Sequence[Block]) -> Array:
    """What may cost a new device other than the known ones, shape (blocks, features): each sums over a network."""
    return np.array([_feature_row(block) for block in blocks])


def _feature_row(block: Block) -> list[float]:
    macs, moved = float(block.macs), float(block.mid_channels * block.in_size**2)
    return [
        *(float(block.kind == kind) for kind in KINDS),
        float(block.params),
        moved,
        *(macs * (block.kernel == kernel) for kernel in (1, 3, 5, 7)),
        macs * (block.se_channels > 0),
        float(block.se_channels > 0),
        moved * (block.activation not in ("none", "relu", "relu6")),
    ]
