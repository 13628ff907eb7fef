"""The stopwatch of this package: every latency in its reports is the median of single runs by the wall clock."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Final

CLOCK: Final = "wall"  # as reports name it
WARM_UPS: Final = 5
RUNS: Final = 40


class Stopwatch:
    """`for _ in watch: …` times what stands in the loop: WARM_UPS runs that do not count, then RUNS."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def __iter__(self) -> Iterator[None]:
        for _ in range(WARM_UPS + RUNS):
            begin = time.perf_counter()
            yield
            self._seconds.append(time.perf_counter() - begin)

    @property
    def median_ms(self) -> float:
        """Milliseconds of one run."""
        return 1000 * statistics.median(self._seconds[WARM_UPS:])


def median_ms(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    watch = Stopwatch()
    for _ in watch:
        call()
    return watch.median_ms
