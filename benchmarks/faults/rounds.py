"""Rounds: one run that meets a fault in every stage, goes on each time, and must end as if nothing had been."""

import argparse
import contextlib
import json
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.faults import results
from benchmarks.faults.job import STAGES, Job, answer, differing, product, stage_now, stage_records
from benchmarks.faults.keeping import Done, damage
from benchmarks.faults.process import Command
from benchmarks.faults.results import Fault

# The long stages are hit twice, so that what was continued once is interrupted again.
_TARGETS: Final = tuple(stage for stage in STAGES for _ in range(2 if stage in ("train", "search", "finetune") else 1))
_START_S: Final = 4.0  # of a command, before it works
_POLL_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Harm:
    """A kind of fault. `strike` hurts the command that works on a run and waits for its end; it returns what it did
    and what was not as it should be. `place` is where the round's run lives."""

    kind: str
    strike: Callable[[Command, Path, random.Random], tuple[str, list[str]]]
    place: Callable[[], AbstractContextManager[Path]]


@dataclass(frozen=True, slots=True)
class Reference:
    """The same run undisturbed: what it found, and how long each stage took in seconds."""

    answer: dict[str, Any]
    seconds: dict[str, float]


@contextmanager
def temporary_place() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pocketnas-faults-") as folder:
        yield Path(folder)


def undisturbed(job: Job) -> Reference:
    """The reference of a job, made once for the product as it is: another version may round otherwise.

    Raises RuntimeError where the run fails by itself.
    """
    out, file = job.folder / "undisturbed", job.folder / f"answer-{product()}.json"
    if not file.exists():
        job.write()
        shutil.rmtree(out, ignore_errors=True)
        with Command(job.command(out), job.folder / "log") as command:
            if command.wait(600) != 0:
                raise RuntimeError(f"the undisturbed run failed: {command.said()[-500:]}")
        file.write_text(json.dumps(answer(out)))
    seconds = {name: record["seconds"] for name, record in stage_records(out).items()}
    return Reference(json.loads(file.read_text()), seconds)


def run_round(harm: Harm, job: Job, reference: Reference, seed: int, number: int, hits: int) -> list[Fault]:
    """The faults that one run met, at most `hits` of them. What was not right at its end is told with the last one."""
    rng = random.Random(f"{harm.kind}/{seed}/{number}")
    faults: list[Fault] = []
    with harm.place() as place:
        run, log, before = place / "run", job.folder / "log", None
        for stage in sorted(rng.sample(_TARGETS, hits), key=STAGES.index):
            with Command(job.command(run), log) as command:
                delay_s = _reached(command, run, stage, reference, rng)
                if delay_s is None:
                    command.wait()
                    break
                hit, began = stage_now(run), time.monotonic()
                how, broke = harm.strike(command, run, rng)
                ended_s = time.monotonic() - began
                if left := command.left_over():
                    broke.append(f"{left} processes outlived it")
            after = Done.at(run)
            broke += [*damage(run), *([] if before is None else before.lost_in(after))]
            before = after
            moment = (round(delay_s, 3), round(ended_s, 3))
            faults.append(Fault(harm.kind, seed, number, job.workers, hit, how, *moment, broke))
        if faults:
            broke = [*faults[-1].broke, *_end(job, run, log, reference, before)]
            faults[-1] = replace(faults[-1], broke=broke)
    return faults


def _reached(command: Command, run: Path, stage: str, reference: Reference, rng: random.Random) -> float | None:
    """Wait for a random moment of `stage`; the seconds since it began (or the command did, where an earlier one had
    begun it). None where the command ended before."""
    begun_before = stage in stage_records(run)
    longest = reference.seconds[stage] + (_START_S if begun_before else 0.0)
    while not begun_before and not (run / "stages" / f"{stage}.json").exists():
        if command.code is not None:
            return None
        time.sleep(_POLL_S)
    delay_s = rng.uniform(0, longest)
    until = time.monotonic() + delay_s
    while time.monotonic() < until and command.code is None:
        time.sleep(_POLL_S)
    return delay_s if command.code is None else None


def _end(job: Job, run: Path, log: Path, reference: Reference, before: Done | None) -> list[str]:
    """Let the run finish; what is not as it was undisturbed."""
    with Command(job.command(run), log) as command:
        if (code := command.wait(600)) != 0:
            return [f"at the end: exit code {code}: {command.said().strip().splitlines()[-1:]}"]
        left = command.left_over()
    broke = [f"{left} processes outlived the run"] if left else []
    broke += damage(run) + ([] if before is None else before.lost_in(Done.at(run)))
    broke += [f"{name} differs" for name in differing(reference.answer, json.loads(json.dumps(answer(run))))]
    return [f"at the end: {what}" for what in broke]


def arguments(description: str | None, faults: int) -> argparse.ArgumentParser:
    """The options that all kinds of faults have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--results", type=Path, required=True, help="JSON lines; rounds that are in it are not repeated"
    )
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "pocketnas-faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=faults, help="how many, in whole rounds")
    parser.add_argument("--hits", type=int, default=len(_TARGETS), help="how many faults a run meets at most")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no round after so long")
    return parser


def repeat(given: argparse.Namespace, kind: str, one_round: Callable[[Job, int], list[Fault]]) -> None:
    """Rounds with one and two workers in turn until there are as many faults as asked for; prints their table."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that commands and disks are not left behind
    until = time.monotonic() + 60 * given.minutes
    while time.monotonic() < until:
        own = [fault for fault in results.read(given.results) if (fault.kind, fault.seed) == (kind, given.seed)]
        if len(own) >= given.faults:
            break
        number = len({fault.round for fault in own})
        job = Job(given.work / f"{1 + number % 2} workers", 1 + number % 2)
        try:
            found = one_round(job, number)
        except KeyboardInterrupt:
            print(f"round {number} of {kind} was interrupted and is not counted")
            break
        results.append(given.results, found)
        for fault in found:
            if fault.broke:
                print(f"round {number}, {fault.stage}, {fault.how}: {'; '.join(fault.broke)}", flush=True)
    with contextlib.suppress(BrokenPipeError):
        print(results.table([fault for fault in results.read(given.results) if fault.kind == kind]))


def rounds_of(harm: Harm, description: str | None, faults: int) -> None:
    """The command of one kind of fault in every stage of whole runs."""
    given = arguments(description, faults).parse_args()
    repeat(given, harm.kind, lambda job, number: run_round(harm, job, undisturbed(job), given.seed, number, given.hits))
