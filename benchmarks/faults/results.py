"""The results file: one JSON line a fault, appended when its round is over, and the table that it makes."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.faults.job import STAGES


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: its kind, the round (a run that meets several), where it hit, how, and what it broke (empty: nothing).

    `delay_s` is how long after the beginning of the stage, or of the command that continued it, it came; `ended_s` how
    long the command went on after it.
    """

    kind: str
    seed: int
    round: int
    workers: int
    stage: str
    how: str
    delay_s: float
    ended_s: float
    broke: list[str] = field(default_factory=list)


def append(file: Path, faults: Iterable[Fault]) -> None:
    """Add the faults of a whole round."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        stream.write("".join(json.dumps(asdict(fault)) + "\n" for fault in faults))


def read(file: Path) -> list[Fault]:
    """The faults so far; none where there is no file yet."""
    return [Fault(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


def table(faults: Sequence[Fault]) -> str:
    """A Markdown table: kinds and stages, how many faults with one and two workers, and how many broke something."""
    lines = [
        "| fault | stage | with 1 worker | with 2 workers | broke something | longest end, s |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for kind in dict.fromkeys(fault.kind for fault in faults):
        own = [fault for fault in faults if fault.kind == kind]
        lines += [_row(kind, stage, [f for f in own if f.stage == stage]) for stage in STAGES]
        lines.append(_row(f"**{kind}**", "all", own))
    return "\n".join(line for line in lines if line) + "\n"


def _row(kind: str, stage: str, faults: Sequence[Fault]) -> str:
    if not faults:
        return ""
    workers = Counter(fault.workers for fault in faults)
    broken, longest = sum(bool(fault.broke) for fault in faults), max(fault.ended_s for fault in faults)
    return f"| {kind} | {stage} | {workers[1]} | {workers[2]} | {broken} | {longest:.1f} |"
