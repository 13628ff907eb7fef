"""What benchmarks share: where public data lies, the command line, timing and Markdown tables."""

import argparse
import csv
import gzip
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.search.compare import difference
from pipeline.spaces.architecture import SKIP, Architecture, Op, StageChoice
from pipeline.spaces.space import SearchSpace

# Public measurements and images, by the names that each benchmark tells.
SHARED = Path(os.environ.get("POCKETNAS_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
_MACRO_OPS = {"0": SKIP, "1": Op(3, 3), "2": Op(5, 6)}


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A command line whose help is the module's docstring as it is written."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, gzipped or not."""
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A Markdown table."""
    for cells in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(cells) + " |")


def over_seeds(values: Sequence[float] | NDArray[np.float64], form: str) -> tuple[str, str]:
    """Mean of (seeds,) values, and Student's 95 % interval as `[low, high]`, which one seed does not have."""
    found = difference(values)
    ends = "" if found.low is None or found.high is None else f"[{found.low:{form}}, {found.high:{form}}]"
    return f"{found.value:{form}}", ends


def progress(done: int, total: int, what: str) -> None:
    """A line on stderr for every hundredth step and the last."""
    if done % 100 == 0 or done == total:
        print(f"{time.strftime('%H:%M:%S')} {what}: {done} of {total}", file=sys.stderr, flush=True)


def best_seconds(work: Callable[[], object], times: int = 5) -> float:
    """CPU seconds of the fastest of `times` calls."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def macro_architecture(space: SearchSpace, digits: str) -> Architecture:
    """What NAS-Bench-Macro spells with eight digits; a later identity in a stage is no layer."""
    stages = []
    for stage, part in zip(space.stages, (digits[:2], digits[2:5], digits[5:]), strict=True):
        ops = (part[0], *(digit for digit in part[1:] if digit != "0"))
        stages.append(StageChoice(stage.widths[0], tuple(_MACRO_OPS[digit] for digit in ops)))
    return Architecture(space.resolutions[0], tuple(stages))
