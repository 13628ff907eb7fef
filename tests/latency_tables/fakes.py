"""A device whose every latency is known, so that what measuring makes of it can be checked."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from latency_tables.blocks import Block
from latency_tables.devices.runner import Timing, TimingProtocol
from latency_tables.errors import DeviceLost
from latency_tables.onnx_models import NamedModel
from latency_tables.table import Clock, DeviceInfo


@dataclass
class FakeRunner:
    """Takes `cost_ms` per block, `per_call_ms` per model, and noise; `slowness(n)` slows the n-th model.

    The connection breaks before each model whose number is in `breaks_at`.
    """

    cost_ms: Callable[[Block], float]
    per_call_ms: float = 0.0
    noise: float = 0.0
    slowness: Callable[[int], float] = lambda number: 1.0
    breaks_at: set[int] = field(default_factory=set)
    name: str = "fake"
    clock: Clock | None = None
    timed: list[str] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def describe(self) -> DeviceInfo:
        """A device that is none."""
        return DeviceInfo(name=self.name, runtime="none", runtime_version="1", clock=self.clock)

    def measure(self, models: Sequence[NamedModel], protocol: TimingProtocol) -> Iterator[Timing]:
        """What the models would take."""
        for model in models:
            number = len(self.timed)
            if number in self.breaks_at:
                self.breaks_at.discard(number)
                raise DeviceLost("the cable came out")
            self.timed.append(model.name)
            milliseconds = self.per_call_ms + sum(map(self.cost_ms, model.blocks))
            milliseconds *= self.slowness(number)
            sessions = tuple(milliseconds * self.rng.gauss(1, self.noise) for _ in range(protocol.sessions))
            yield Timing(model.name, sessions, protocol.runs * protocol.sessions)


def plain_cost_ms(block: Block) -> float:
    """Something a device might take: work plus a constant."""
    return block.macs * 2e-6 + block.params * 1e-6 + 0.01
