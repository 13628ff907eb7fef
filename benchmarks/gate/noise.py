"""How often the gate is wrong on a noisy machine: false alarms on identical models, slow-downs of 5 % that it misses.

    python -m benchmarks.gate.noise --out noise.jsonl --minutes 10      adds runs until the time is up; continues
    python -m benchmarks.gate.noise --out noise.jsonl --summary         the table in docs/results/gate.md

A run is one whole decision of the gate (`judge_change`, the default plan, 2.5 % allowed). "identical" compares a
model with itself; "slower" compares 21 equal blocks with 20 (`--size medium`: 42 with 40 larger ones), which is 5 %
more work by construction. `--load N` keeps N processes busy beside it.

The last column decides 5,000 times more often than there was time to measure: each time from another stretch of the
rounds that were measured, in their order, so with the machine's own noise.
"""

import json
import math
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

from scipy.stats import beta

from benchmarks import common
from latency_tables.blocks import Block
from latency_tables.onnx_models import build_model
from pipeline.gate.host_rounds import TimedModel, host_round
from pipeline.gate.measure import LookPlan, Taken, judge_change

ALLOWED = 0.025
BANDS = ((0, math.inf), (0, 4), (4, 8), (8, math.inf))  # of the machine's load, as it was when a run ended
SIZES = {
    "small": (Block("mbconv", 14, 24, 24, 3, 1, 72, 0, "hswish", True), 20),
    "medium": (Block("mbconv", 14, 40, 40, 5, 1, 120, 0, "hswish", True), 40),
}


def one_run(folder: Path, size: str, case: str, seed: int, load: int) -> dict[str, Any]:
    """One decision of the gate, as a line of the results."""
    new, old = TimedModel(folder / f"{size}-{case}.onnx", {}), TimedModel(folder / f"{size}-identical.onnx", {})
    rng, start = random.Random(seed), time.perf_counter()
    ratios: list[float] = []

    def one_round() -> list[Taken]:
        taken = host_round([new, old], 1, rng)
        ratios.append(taken[0].ms / taken[1].ms)
        return taken

    outcome = judge_change(one_round, ALLOWED, LookPlan())
    return {
        "case": f"{size}, {case}",
        "seed": seed,
        "load": load,
        "machine_load": round(os.getloadavg()[0], 2),
        "decision": outcome.decision,
        "value": outcome.value,
        "rounds": outcome.rounds,
        "wall_ms": outcome.wall_ms,
        "seconds": round(time.perf_counter() - start, 3),
        "ratios": [round(ratio, 5) for ratio in ratios],
    }


def redrawn(lines: list[dict[str, Any]], times: int = 5000) -> dict[str, float]:
    """The share of each decision, each from a random stretch of all measured rounds in their order."""
    ratios = [ratio for line in lines for ratio in line["ratios"]]
    rng = random.Random(0)
    counts: Counter[str] = Counter()
    for _ in range(times):
        start = rng.randrange(len(ratios))
        stretch = cycle([*ratios[start:], *ratios[:start]])
        counts[
            judge_change(lambda s=stretch: [Taken(next(s), 1.0), Taken(1.0, 1.0)], ALLOWED, LookPlan()).decision
        ] += 1
    return {decision: count / times for decision, count in counts.items()}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep `processes` processes multiplying matrices."""
    workers = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _burn() -> None:
    import numpy as np

    matrix = np.random.default_rng(0).random((300, 300))
    while True:
        matrix = matrix @ matrix % 1.0


def summary(lines: list[dict[str, Any]]) -> str:
    """A Markdown table; the bounds are one-sided 95 % (Clopper and Pearson)."""
    rows = [
        "| models | machine load | runs | called slower | cannot decide | rate called slower, 95 % bound | "
        "median change | median rounds | median s | redrawn: called slower, undecided |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for case in sorted({line["case"] for line in lines}):
        for low, high in BANDS:
            some = [line for line in lines if line["case"] == case and low <= line["machine_load"] < high]
            if some:
                rows.append(_row(case, _band(low, high), some))
    return "\n".join(rows)


def _band(low: float, high: float) -> str:
    if high == math.inf:
        return f"{low:.0f} and more" if low else "all"
    return f"{low:.0f} to {high:.0f}"


def _row(case: str, band: str, some: list[dict[str, Any]]) -> str:
    n, alarms = len(some), sum(line["decision"] == "above" for line in some)
    unsure = sum(line["decision"] == "undecided" for line in some)
    if case.endswith("identical"):
        bound = f"at most {beta.ppf(0.95, alarms + 1, n - alarms):.2%}" if alarms < n else "-"
    else:
        bound = f"at least {beta.ppf(0.05, alarms, n - alarms + 1):.1%}" if alarms else "-"
    middle = {key: median(line[key] for line in some) for key in ("value", "rounds", "seconds")}
    shares = redrawn(some)
    again = f"{shares.get('above', 0):.2%}, {shares.get('undecided', 0):.2%} of {sum(map(_rounds, some)):,} rounds"
    return (
        f"| {case} | {band} | {n} | {alarms} | {unsure} | {bound} | "
        f"{middle['value']:+.2%} | {middle['rounds']:.0f} | {middle['seconds']:.1f} | {again} |"
    )


def _rounds(line: dict[str, Any]) -> int:
    return len(line["ratios"])


def main() -> None:
    """Add runs, or print the table."""
    parser = common.parser(__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--load", type=int, default=0)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--identical-per-slower", type=int, default=2)
    parser.add_argument("--summary", action="store_true")
    arguments = parser.parse_args()
    text = arguments.out.read_text() if arguments.out.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    if not arguments.summary:
        order = ["identical"] * arguments.identical_per_slower + ["slower"]
        end = time.monotonic() + 60 * arguments.minutes
        with tempfile.TemporaryDirectory() as name, busy(arguments.load), arguments.out.open("a") as stream:
            folder, size = Path(name), arguments.size
            block, blocks = SIZES[size]
            for case, number in (("identical", blocks), ("slower", blocks * 21 // 20)):
                (folder / f"{size}-{case}.onnx").write_bytes(build_model([block] * number))
            while time.monotonic() < end:
                lines.append(one_run(folder, size, order[len(lines) % len(order)], len(lines), arguments.load))
                stream.write(json.dumps(lines[-1]) + "\n")
                stream.flush()
    print(summary(lines))


if __name__ == "__main__":
    main()
