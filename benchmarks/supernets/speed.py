"""Speed of the supernet beside Once-for-All as its authors released it, in turns, each in a process of its own.

    python -m benchmarks.supernets.speed --ofa CHECKOUT [--threads 2] [--repeats 5] [--clock cpu]

CHECKOUT is a copy of https://github.com/mit-han-lab/once-for-all; without it only our own times are printed.
"Step" is forward, backward and update of the MobileNetV3 1.0 supernet on a batch of 32, the largest subnet or the
mean of random ones; "judge" takes a candidate's weights, re-estimates its BatchNorm statistics on 2,000 images
and evaluates 2,000 others; "memory" is the most that a process holds that does three steps of the largest subnet.
Times are medians; the ratio is of the two medians. On a busy machine take `--threads 1 --clock cpu`.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks import common

RANDOM = 20  # random networks in a step's mean: with fewer the ratio depends on which they are


class Worker:
    """A process that is one side."""

    def __init__(self, side: str, checkout: Path | None, threads: int) -> None:
        command = [sys.executable, "-m", "benchmarks.supernets.sides", side, "--threads", str(threads)]
        command += ["--ofa", str(checkout)] if checkout else []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.communicate()

    def do(self, **request: object) -> dict[str, Any]:
        """What the side answers."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the worker has no pipes")
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


def in_turns(workers: Mapping[str, Worker], repeats: int, clock: str, request: dict[str, object]) -> dict[str, float]:
    """Median milliseconds of `request` for each worker; they take turns, so that a busy moment meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(repeats + 1):
        for name, worker in workers.items():
            answer = worker.do(**request)
            if turn:  # the first turn warms up
                times[name].append(answer[clock] / answer["count"] * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def report(what: str, values: Mapping[str, float], unit: str) -> None:
    """One line: each side and the ratio."""
    told = "   ".join(f"{name} {value:8.1f} {unit}" for name, value in values.items())
    ratio = f"   ratio {values['ours'] / values['ofa']:.3f}" if "ofa" in values else ""
    print(f"{what:32} {told}{ratio}", flush=True)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--ofa", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", default="64,160")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--what", default="step,judge,extract,memory")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: for a machine that is busy")
    options = parser.parse_args()
    what, sizes = options.what.split(","), [int(size) for size in options.sizes.split(",")]
    names = (["ofa"] if options.ofa else []) + ["ours"]

    def workers(stack: ExitStack) -> dict[str, Worker]:
        return {name: stack.enter_context(Worker(name, options.ofa, options.threads)) for name in names}

    def measure(told: str, repeats: int, **request: object) -> None:
        report(told, in_turns(both, repeats, options.clock, request), "ms")

    with ExitStack() as stack:
        both = workers(stack)
        for size in sizes if "step" in what else []:
            measure(f"step max {size} px", options.repeats, what="step", size=size, archs="max")
            measure(f"step random {size} px", options.repeats, what="step", size=size, archs=f"random 0 {RANDOM}")
        for number in range(3) if "judge" in what else []:
            told, archs = f"judge random {number + 1}, {options.images} images", f"random {number} {number + 1}"
            measure(told, options.repeats, what="judge", size=64, archs=archs, images=options.images)
        for archs in ("max", "random 0 10") if "extract" in what else []:
            measure(f"extract {archs}", options.repeats * 4, what="extract", size=64, archs=archs)
    for size in sizes if "memory" in what else []:
        with ExitStack() as stack:
            both = workers(stack)
            answers = {n: [w.do(what="step", size=size, archs="max") for _ in range(3)] for n, w in both.items()}
            report(f"peak memory, step max {size} px", {n: a[-1]["peak_mb"] for n, a in answers.items()}, "MB")


if __name__ == "__main__":
    main()
