"""Which way of timing repeats best: the same models timed over and over by two protocols in turn.

    python -m benchmarks.latency.protocol --rounds 8

`plain` is the median over 4 fresh sessions of (5 warm-ups, median of 40 runs), whatever else the machine does.
`guarded` is pocketnas' own: fresh sessions at different times, runs repeated when a probe says that the core is
shared, values divided by the sentinel beside them. Prints, as Markdown, per protocol the coefficient of variation
over the rounds (median and worst model), and the largest deviation of a round from the model's median.
"""

import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import common
from latency_tables.devices.registry import open_runner
from latency_tables.devices.runner import Runner, TimingProtocol
from latency_tables.measure import MeasureOptions, measure_models
from latency_tables.onnx_models import NamedModel, block_model
from pipeline.profiling import random_networks
from pipeline.spaces.files import load_space


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--networks", type=int, default=6)
    parser.add_argument("--blocks", type=int, default=6)
    arguments = parser.parse_args()
    space, rng = load_space("ofa-mbv3-1.0"), random.Random(0)
    networks = [NamedModel(str(a), space.blocks(a)) for a in random_networks(space, arguments.networks, rng)]
    blocks = [block_model(block) for block in rng.sample(space.distinct_blocks(), arguments.blocks)]
    timed: dict[str, dict[str, list[float]]] = {"plain": {}, "guarded": {}}
    seconds = dict.fromkeys(timed, 0.0)
    runner = open_runner("host")  # one for all: it remembers what is usual on this machine
    for number in range(arguments.rounds):
        for protocol, measure in (("plain", plain), ("guarded", guarded)):
            start = time.monotonic()
            for name, milliseconds in measure([*networks, *blocks], runner).items():
                timed[protocol].setdefault(name, []).append(milliseconds)
            seconds[protocol] += time.monotonic() - start
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
    print("| protocol | what | median CV % | worst CV % | largest deviation % | seconds a round |")
    print("|---|---|---|---|---|---|")
    for protocol, values in timed.items():
        for what, models in (("networks", networks), ("blocks", blocks)):
            table = np.array([values[model.name] for model in models])
            variation = 100 * table.std(axis=1, ddof=1) / table.mean(axis=1)
            off = 100 * np.abs(table / np.median(table, axis=1, keepdims=True) - 1).max()
            print(
                f"| {protocol} | {len(models)} {what} | {np.median(variation):.2f} | {variation.max():.2f} "
                f"| {off:.1f} | {seconds[protocol] / arguments.rounds:.0f} |"
            )


def plain(models: list[NamedModel], runner: Runner) -> dict[str, float]:
    """The median over 4 fresh sessions of the median of 40 runs."""
    protocol = TimingProtocol(sessions=4, warmups=5, runs=40, session_ms=0, patience_ms=0)
    return {timing.name: median(timing.session_ms) for timing in runner.measure(models, protocol)}


def guarded(models: list[NamedModel], runner: Runner) -> dict[str, float]:
    """pocketnas' protocol, with two visits of two sessions: as many sessions as the other."""
    with tempfile.TemporaryDirectory() as folder:
        options = MeasureOptions(visits=2)
        _, samples = measure_models(models, runner, Path(folder) / "journal", options, None)
    return {model.name: samples.median_ms(model.name) for model in models}


if __name__ == "__main__":
    main()
