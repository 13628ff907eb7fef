"""How many planted faults the tests notice: each fault alone in a copy of the checkout, its focused tests run on it.

    python -m benchmarks.mutants.run [--only NAME…] [--out results.jsonl]

`faults.toml` lists the faults: an exact text of one file, what it becomes, and the tests that should fail. A fault
whose text does not stand exactly once in its file is an error, so the list cannot rot unseen. The tests must pass
without any fault; one that fails, or that takes 240 s of CPU time or half an hour, has noticed the fault. Prints a
Markdown table and ends with 1 where fewer than nine in ten are noticed. With --out, what is there already is not run
again.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import common
from latency_tables.documents import read_toml

ROOT: Final = Path(__file__).resolve().parents[2]
ENOUGH: Final = 0.9
CPU_S: Final = 240  # of one process, so that a busy machine notices nothing by itself
DEADLINE_S: Final = 1800
_PASSED, _FAILED = 0, 1  # pytest's exit codes; any other says that no test was run


class NotPlanted(Exception):
    """A fault that cannot be planted, or tests that fail without it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `old` in `file` becomes `new`; `tests` are what should notice it."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def plant(self, checkout: Path) -> str:
        """Write the fault into a copy; returns what the file was."""
        path = checkout / self.file
        text = path.read_text(encoding="utf-8")
        if (found := text.count(self.old)) != 1:
            raise NotPlanted(f"{self.name}: the text to change stands {found} times in {self.file}, not once")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")
        return text


def read_faults() -> list[Fault]:
    """The faults of `faults.toml`."""
    listed = read_toml(Path(__file__).with_name("faults.toml"), NotPlanted)["fault"]
    return [Fault(**{**entry, "tests": tuple(entry["tests"])}) for entry in listed]


def copy_of_checkout(folder: Path) -> Path:
    """The files of the working tree that git does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in (name for name in listed.split("\0") if (ROOT / name).is_file()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def run_tests(checkout: Path, tests: tuple[str, ...]) -> tuple[bool, str]:
    """Whether the tests pass on the copy, and the first that does not."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", "-rf", *tests]
    own = {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=checkout,
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S)),
        )
    except subprocess.TimeoutExpired:
        return False, f"no end within {DEADLINE_S} s"
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return False, f"no end within {CPU_S} s of CPU time"
    if done.returncode not in (_PASSED, _FAILED):
        raise NotPlanted(f"no test was run ({' '.join(tests)}): {(done.stdout + done.stderr)[-600:]}")
    failed = [line.split(" ")[1] for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    return done.returncode == _PASSED, failed[0] if failed else ""


def noticed(checkout: Path, fault: Fault) -> dict[str, object]:
    """One line of the results: which test noticed the fault, if any, and seconds."""
    began = time.monotonic()
    before = fault.plant(checkout)
    try:
        passed, by = run_tests(checkout, fault.tests)
    finally:
        (checkout / fault.file).write_text(before, encoding="utf-8")
    if not passed and not run_tests(checkout, (by.split("[")[0],) if "::" in by else fault.tests)[0]:
        raise NotPlanted(f"{fault.name}: {by or fault.tests} fails without the fault too")
    return {"fault": fault.name, "noticed": not passed, "by": by, "seconds": round(time.monotonic() - began, 1)}


def main() -> int:
    """Plant them all and print what became of each."""
    parser = common.parser(__doc__)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    faults = [fault for fault in read_faults() if given.only is None or fault.name in given.only]
    written = given.out.read_text().splitlines() if given.out is not None and given.out.exists() else []
    results = {entry["fault"]: entry for entry in map(json.loads, written)}
    with tempfile.TemporaryDirectory() as folder:
        checkout = copy_of_checkout(Path(folder))
        for fault in faults:
            if fault.name in results:
                continue
            results[fault.name] = entry = noticed(checkout, fault)
            print(json.dumps(entry), file=sys.stderr, flush=True)
            if given.out is not None:
                with given.out.open("a") as stream:
                    stream.write(json.dumps(entry) + "\n")
    rows = [results[fault.name] for fault in faults]
    told = [(row["fault"], f"`{row['by'].split('::')[-1]}`" if row["noticed"] else "**nobody**") for row in rows]
    common.print_table(("planted fault", "noticed by"), told)
    caught = sum(bool(row["noticed"]) for row in rows)
    print(f"\n{caught} of {len(rows)} faults are noticed.")
    return 0 if caught >= ENOUGH * len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
