"""SIGTERM, as containers, service managers and batch systems send it, at random moments of every stage.

    python -m benchmarks.faults.sigterm --results faults.jsonl [--faults 24] [--seed 0] [--minutes 15]

The command must end soon with exit code 2 and one line that says how to go on, and leave nothing running.
"""

import random
import signal
from pathlib import Path

from benchmarks.faults.process import Command
from benchmarks.faults.rounds import Harm, rounds_of, temporary_place

_SOON_S = 15.0


def strike(command: Command, run: Path, rng: random.Random) -> tuple[str, list[str]]:
    """Stop it."""
    command.send(signal.SIGTERM)
    code = command.wait(_SOON_S)
    broke = [] if code in (2, -signal.SIGTERM) else [f"exit code {code}"]
    if code == 2 and not _last_line(command).startswith("pocketnas: interrupted"):
        broke.append(f"it said {_last_line(command)!r}")
    if "Traceback" in command.said():
        broke.append("a traceback")
    return "SIGTERM", broke


def _last_line(command: Command) -> str:
    return (command.said().strip().splitlines() or [""])[-1]


if __name__ == "__main__":
    rounds_of(Harm("SIGTERM", strike, temporary_place), __doc__, faults=24)
