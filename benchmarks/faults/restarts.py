"""PostgreSQL stopped, crashed or killed during `pocketnas search RUN`, and started again.

    python -m benchmarks.faults.restarts --results faults.jsonl [--faults 12] [--seed 0] [--minutes 15]

Each round searches a copy of an undisturbed run in a database, with one and two workers in turn, and meets up to three
restarts. The first one comes once something has been judged: a database that is away when the command asks for it
first is an error at once. The address, with a password, comes from POCKETNAS_STORAGE: it must stand nowhere afterwards.
"""

import random
import shutil
import signal
import time
from pathlib import Path
from typing import Final

import optuna

from benchmarks.faults.job import Job, pocketnas, scores
from benchmarks.faults.keeping import damage
from benchmarks.faults.process import Command
from benchmarks.faults.results import Fault
from benchmarks.faults.rounds import arguments, repeat, temporary_place, undisturbed
from tests.search.postgres import Postgres, find_initdb

_KIND: Final = "PostgreSQL restart"
_MOST_RESTARTS: Final = 3
_PASSWORD: Final = "not-to-be-seen"
_HOW: Final = {signal.SIGINT: "stopped", signal.SIGQUIT: "crashed", signal.SIGKILL: "killed"}


def round_of_restarts(job: Job, server: Postgres, seed: int, number: int) -> list[Fault]:
    """One search that meets restarts."""
    undisturbed(job)
    rng = random.Random(f"{_KIND}/{seed}/{number}")
    url = server.url.replace("@", f":{_PASSWORD}@")
    faults: list[Fault] = []
    with temporary_place() as place:
        run = place / "run"
        shutil.copytree(job.folder / "undisturbed", run)
        for name in ("study.journal", "judged.jsonl", "private.jsonl"):
            (run / name).unlink()
        # Workers are a way of working: the run's file does not say how many it was made with.
        words = pocketnas("search", run, "--again", "--workers", job.workers, "--json")
        with Command(words, job.folder / "log", {"POCKETNAS_STORAGE": url}) as command:
            while command.code is None and not _judged(run):
                time.sleep(0.05)
            for _ in range(_MOST_RESTARTS):
                delay_s = rng.uniform(0.0, 5.0)
                time.sleep(delay_s)
                if command.code is None:
                    how, away_s = rng.choice(list(_HOW)), rng.uniform(0.2, 4.0)
                    server.stop(how)
                    time.sleep(away_s)
                    server.start()
                    told = f"{_HOW[how]}, away for {away_s:.1f} s"
                    faults.append(Fault(_KIND, seed, number, job.workers, "search", told, round(delay_s, 3), 0.0, []))
            command.wait(600)
            broke = _broke(job, run, command, url)
        if faults:
            faults[-1].broke.extend(broke)
    return faults


def _judged(run: Path) -> bool:
    """Whether the search has asked its database, and has begun to judge."""
    return (run / "judged.jsonl").exists() and (run / "judged.jsonl").stat().st_size > 0


def _broke(job: Job, run: Path, command: Command, url: str) -> list[str]:
    if command.code != 0:
        return [f"exit code {command.code}: {command.said().strip().splitlines()[-1:]}"]
    broke = damage(run)
    if left := command.left_over():
        broke.append(f"{left} processes outlived it")
    if scores(run) != scores(job.folder / "undisturbed"):
        broke.append("other candidates")
    if _PASSWORD in command.said() or any(_PASSWORD.encode() in f.read_bytes() for f in run.rglob("*") if f.is_file()):
        broke.append("the password was told")
    return broke + _twice(url)


def _twice(url: str) -> list[str]:
    """Networks that a study in the database has more than once; the studies are removed."""
    from pipeline.search.storage import open_storage

    storage = open_storage(url)
    broke = []
    for study in optuna.get_all_study_summaries(storage):
        trials = optuna.load_study(study_name=study.study_name, storage=storage).trials
        archs = [t.user_attrs["network"]["arch"] for t in trials if t.state is optuna.trial.TrialState.COMPLETE]
        if len(archs) != len(set(archs)):
            broke.append(f"{len(archs) - len(set(archs))} networks stand twice in the study")
        optuna.delete_study(study_name=study.study_name, storage=storage)
    return broke


def main() -> None:
    """Restart until there are as many restarts as asked for."""
    given = arguments(__doc__, faults=12).parse_args()
    server = Postgres(find_initdb())
    try:
        server.start()
        repeat(given, _KIND, lambda job, number: round_of_restarts(job, server, given.seed, number))
    finally:
        server.remove()


if __name__ == "__main__":
    main()
