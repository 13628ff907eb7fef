"""The networks of a run that a person may look at on its page, each with the command that builds it."""

from typing import Final

from pipeline.report.data import BlockLatency, Networks, Pickable, Point, Trial, front
from pipeline.report.next_steps import build_command
from pipeline.runs.run import Run
from pipeline.spaces.architecture import Architecture

MOST: Final = 1000  # beside the front and what was trained: a page of a long search stays small
_ROLES: Final = {"candidate": "a finalist", "random": "drawn at random", "published": "the published network"}


def pickable_networks(run: Run, tried: tuple[Trial, ...]) -> Networks:
    """What was trained to the end with its test accuracy, and what was judged with that of inherited weights."""
    shop = _Blocks(run)
    found: dict[str, Pickable] = {}
    for entry in run.winner.trained:
        won = entry.arch == run.winner.arch
        role = "the winner" if won else _ROLES.get(entry.role, entry.role)
        how = f"on the test split after training to the end ({role})"
        accuracy = run.winner.accuracy if won else entry.test_accuracy
        found[entry.arch] = shop.network(entry.arch, accuracy, how, built=won)
    judged = [Point(trial.name, trial.latency_ms, trial.accuracy) for trial in tried if trial.accuracy is not None]
    best = {point.name for point in front(tuple(judged))} | set(run.candidates.front)  # by accuracy, and by rank
    step = max(1, -(-len(judged) // MOST))
    for number, point in enumerate(judged):
        if point.name in best or (number % step == 0 and point.name not in found):
            how = "of the search images with inherited weights"
            known = found.get(point.name)
            found[point.name] = shop.network(
                point.name,
                point.accuracy if known is None else known.accuracy,
                how if known is None else known.how,
                on_front=point.name in best,
                built=known is not None and not known.command,
            )
    networks = tuple(sorted(found.values(), key=lambda network: network.latency_ms))
    return Networks(tuple(shop.kinds.values()), networks, run.table.fixed_ms)


class _Blocks:
    """Distinct blocks, numbered in the order in which networks first need them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.kinds: dict[str, BlockLatency] = {}
        self._places: dict[str, int] = {}

    def network(self, name: str, accuracy: float, how: str, on_front: bool = False, built: bool = False) -> Pickable:
        blocks = self._run.space.blocks(Architecture.parse(name))
        for block in blocks:
            if block.key not in self.kinds:
                self._places[block.key] = len(self.kinds)
                self.kinds[block.key] = BlockLatency(block.key, self._run.table.block_ms(block), block.macs)
        latency_ms = self._run.table.network_ms(blocks)
        return Pickable(
            name=name,
            latency_ms=latency_ms,
            accuracy=accuracy,
            how=how,
            macs=sum(block.macs for block in blocks),
            params=sum(block.params for block in blocks),
            blocks=tuple(self._places[block.key] for block in blocks),
            on_front=on_front,
            command="" if built else build_command(str(self._run.path), name, latency_ms),
        )
