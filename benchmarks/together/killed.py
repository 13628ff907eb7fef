"""A run by several processes of which one is killed in every stage, beside the same run that nobody disturbs.

Prints what was killed when, how often something that had finished was done again, and whether both found the same.
"""

import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import parser, print_table
from benchmarks.together.common import digits, start, workers
from pipeline.runs.folder import STAGE_NAMES

# Small: every kill takes a start of all processes.
CONFIG = digits(limit=200, batch_size=32, evaluations=8, images=64, private=2, candidates=2, epochs=4)
_POLL_SECONDS = 0.02
_LONG = ("train", "split", "search", "finetune")
_INTO_SECONDS = 0.5  # so that a long stage has begun to work


def finished(run: Path) -> dict[str, int]:
    """When each stage that has finished did, and each network that was trained alone; child and supernet included."""
    files = [run / "stages" / f"{name}.json" for name in STAGE_NAMES if (run / "stages" / f"{name}.json").exists()]
    done = [file for file in files if json.loads(file.read_text())["finished"]]
    made = [*run.glob("winner/trained/*.json"), *run.glob("children/*/supernet.safetensors")]
    return {str(file.relative_to(run)): file.stat().st_mtime_ns for file in [*done, *made]}


def under_way(run: Path) -> str | None:
    """The stage that has begun and not finished."""
    for name in STAGE_NAMES:
        file = run / "stages" / f"{name}.json"
        if file.exists() and not json.loads(file.read_text())["finished"]:
            return name
    return None


def disturbed(config: Path, run: Path, processes: int, nodes: int) -> list[list[str]]:
    """Run with one process killed in each stage, the first and the last in turn; a row for each kill."""
    launchers = start(["run", str(config), "--out", str(run)], processes, nodes, restarts=50)
    rows: list[list[str]] = []
    killed: set[str] = set()
    done: dict[str, int] = {}
    again = 0
    while launchers[0].poll() is None:
        stage, now = under_way(run), finished(run)
        again += sum(now[name] != stamp for name, stamp in done.items() if name in now)
        done |= now
        if stage is not None and stage not in killed:
            time.sleep(_INTO_SECONDS if stage in _LONG else 0)
            pids = [pid for launcher in launchers for pid in workers(launcher.pid)]
            place = 0 if len(killed) % 2 else len(pids) - 1
            os.kill(pids[place], signal.SIGKILL)
            killed.add(stage)
            rows.append([stage, f"{place + 1} of {len(pids)}", str(len(done)), str(again)])
        time.sleep(_POLL_SECONDS)
    codes = ", ".join(str(launcher.wait()) for launcher in launchers)
    rows.append([f"the end, exit code(s) {codes}", "", str(len(done)), str(again)])
    return rows


def found(run: Path) -> dict[str, Any]:
    """The winner, the losses of the supernet, and the accuracy of each network that was trained alone."""
    files = [run / "supernet" / "losses.json", *sorted(run.glob("winner/trained/*.json"))]
    read = {file.name: json.loads(file.read_text()) for file in files}
    for document in read.values():
        if isinstance(document, dict):
            document.pop("seconds", None)
    return {"winner": json.loads((run / "winner" / "winner.json").read_text())["arch"]} | read


if __name__ == "__main__":
    line = parser(__doc__)
    line.add_argument("--processes", type=int, default=2, help="of each launcher")
    line.add_argument("--launchers", type=int, default=1)
    chosen = line.parse_args()
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "c.toml"
        config.write_text(CONFIG)
        plain, runs = Path(name) / "plain", Path(name) / "disturbed"
        for launcher in start(["run", str(config), "--out", str(plain)], chosen.processes, chosen.launchers):
            launcher.wait()
        rows = disturbed(config, runs, chosen.processes, chosen.launchers)
        print_table(["killed in stage", "process", "finished before", "of these done again so far"], rows)
        expected, got = found(plain), found(runs)
        print("found the same:", ", ".join(f"{key} {'yes' if got[key] == expected[key] else 'NO'}" for key in expected))
