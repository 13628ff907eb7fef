"""`kill -9` at random moments of every stage of `pocketnas run`, with one and two search workers.

    python -m benchmarks.faults.kills --results faults.jsonl [--faults 72] [--seed 0] [--minutes 15]

Only the command itself is killed: workers must end with it. See `rounds.py` for what must hold afterwards.
"""

import random
import signal
from pathlib import Path

from benchmarks.faults.process import Command
from benchmarks.faults.rounds import Harm, rounds_of, temporary_place


def strike(command: Command, run: Path, rng: random.Random) -> tuple[str, list[str]]:
    """Kill it."""
    command.send(signal.SIGKILL)
    command.wait()
    return "SIGKILL", []


if __name__ == "__main__":
    rounds_of(Harm("kill", strike, temporary_place), __doc__, faults=72)
