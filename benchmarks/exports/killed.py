"""`kill -9` while files are written, checked or timed: what stays in the system's temporary folder.

    python -m benchmarks.exports.killed ROWS.jsonl --work DIR [--kills 12]

A run of the embedded digits is made once in DIR. Then `pocketnas export`, `pocketnas check` with measuring, and
`pocketnas run` in its export stage are killed at `--kills` moments each, evenly spread over the time that they take
undisturbed, each with an empty temporary folder of its own. Another command follows: whatever is in that folder then
was left for ever. At last the killed command is repeated and must succeed.
"""

import json
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks import common
from benchmarks.faults.job import Job, pocketnas
from benchmarks.faults.process import Command

_AFTER_EXPORT: Final = ("export", "check", "report")
_BUDGET: Final = 'macs = "300k"\nlatency_ms = 50\n'


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: after how many seconds, what lay in the temporary folder, and what after the next command."""

    command: str
    after_s: float
    had: list[str]
    left: list[str]
    outlived: int


@dataclass(frozen=True, slots=True)
class Victim:
    """A command to kill, and what makes it begin at the same place each time."""

    name: str
    words: list[str]
    prepare: Callable[[], None]
    out: Path


def victims(run: Path, job: Job, work: Path, targets: str) -> list[Victim]:
    """The commands that write, execute or time model files."""
    budget, copy, out = work / "budget.toml", work / "copy", work / "out"
    budget.write_text(_BUDGET)

    def before_export() -> None:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        for stage in _AFTER_EXPORT:
            (copy / "stages" / f"{stage}.json").unlink()

    export = pocketnas("export", run, "--to", targets, "--out", out, "--skip-missing", "--json")
    model = run / "exports" / "model.onnx"
    check = pocketnas("check", model, "--budget", budget, "--device", "host", "--json")
    return [
        Victim("export", export, lambda: None, out),
        Victim("check", check, lambda: None, work),
        Victim("run, export stage", job.command(copy), before_export, copy / "exports"),
    ]


def killed(victim: Victim, after_s: float, temporary: Path, log: Path) -> Kill:
    """Kill it so long after its start, and let another command run."""
    victim.prepare()
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary)}
    with Command(victim.words, log, environment) as command:
        time.sleep(after_s)
        command.send(signal.SIGKILL)
        command.wait()
        outlived = command.left_over()
    had = sorted(str(path.relative_to(temporary)) for path in temporary.rglob("*"))
    with Command(pocketnas("space", "quickstart"), log, environment) as command:
        command.wait()
    left = sorted(path.name for path in temporary.iterdir())
    shutil.rmtree(temporary)
    return Kill(victim.name, round(after_s, 2), had, left, outlived)


def undisturbed_s(victim: Victim, temporary: Path, log: Path) -> float:
    """Seconds that it takes, with its temporary folder empty afterwards. Raises RuntimeError where not."""
    victim.prepare()
    temporary.mkdir()
    begin = time.monotonic()
    with Command(victim.words, log, {"TMPDIR": str(temporary)}) as command:
        if (code := command.wait(600)) != 0:
            raise RuntimeError(f"{victim.name} ended with exit code {code}: {command.said()[-500:]}")
    seconds = time.monotonic() - begin
    left = [path.name for path in (*temporary.iterdir(), *victim.out.glob(".export-*"))]
    if left:
        raise RuntimeError(f"{victim.name} left {left}")
    temporary.rmdir()
    return seconds


def report(kills: Sequence[Kill]) -> None:
    """A line a command."""
    rows = []
    for name in dict.fromkeys(kill.command for kill in kills):
        own = [kill for kill in kills if kill.command == name]
        counts = (
            len(own),
            sum(bool(kill.had) for kill in own),
            sum(bool(kill.left) for kill in own),
            sum(kill.outlived for kill in own),
        )
        rows.append([name, *map(str, counts)])
    common.print_table(["command", "kills", "with temporary files", "left after the next command", "outlived it"], rows)


def main() -> None:
    """Parse the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--targets", default="onnx,ort,coreml,coreml-fp16,pt2")
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    job, run, log = Job(given.work / "job", 1), given.work / "run", given.work / "log"
    job.write()
    with Command(job.command(run), log) as command:
        if command.wait(600) != 0:
            raise RuntimeError(f"the run failed: {command.said()[-500:]}")
    temporary, kills = given.work / "temporary", []
    for victim in victims(run, job, given.work, given.targets):
        seconds = undisturbed_s(victim, temporary, log)
        for number in range(given.kills):
            kill = killed(victim, seconds * (number + 0.5) / given.kills, temporary, log)
            kills.append(kill)
            print(f"{kill.command}, {kill.after_s} s: {len(kill.had)} files, then {kill.left}", flush=True)
            with given.rows.open("a") as stream:
                stream.write(json.dumps(asdict(kill)) + "\n")
        undisturbed_s(victim, temporary, log)
    report(kills)


if __name__ == "__main__":
    main()
