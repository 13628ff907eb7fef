"""What a fault must leave: everything that had been done, whole, and done once."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from benchmarks.faults.job import digest, stage_records

# Files that only grow: what a fault left of them stays, but for a torn last line.
_GROWING: Final = ("judged.jsonl", "private.jsonl", "study.journal", "table.json.journal")
_DONE_ONCE: Final = ("winner/trained/*.json", "winner/trained/*.safetensors", "children/*/supernet.safetensors")


@dataclass(frozen=True, slots=True)
class Done:
    """What a run had done at a moment: records of finished stages, times of finished parts, lines of growing files."""

    stages: dict[str, str]
    parts: dict[str, int]
    lines: dict[str, bytes]

    @classmethod
    def at(cls, run: Path) -> Self:
        """What the folder holds now. Raises ValueError for half-written documents."""
        finished = {name: json.dumps(r) for name, r in stage_records(run).items() if r["finished"]}
        parts = {
            str(file.relative_to(run)): file.stat().st_mtime_ns
            for pattern in _DONE_ONCE
            for file in run.glob(pattern)
            if _is_done(file)
        }
        files = {name: run / name for name in _GROWING}
        lines = {name: _whole_lines(file) for name, file in files.items() if file.exists()}
        return cls(finished, parts, lines)

    def lost_in(self, later: Self) -> list[str]:
        """What had been done and is gone or was done again, in words."""
        return [
            *(f"stage {n} was done again" for n, record in self.stages.items() if later.stages.get(n) != record),
            *(f"{n} was made again" for n, time in self.parts.items() if later.parts.get(n) != time),
            *(
                f"{n} lost lines"
                for n, b in self.lines.items()
                if n in later.lines and not later.lines[n].startswith(b)
            ),
        ]


def _is_done(file: Path) -> bool:
    """Whether a part has been finished: a network that is trained alone is with its record, its weights come before."""
    alone = file.parent.name == "trained"
    return "checkpoint" not in file.name and (not alone or file.with_suffix(".json").exists())


def damage(run: Path) -> list[str]:
    """Whatever is half-written, corrupt or judged twice in the folder, in words."""
    found = []
    for file in run.rglob("*.json"):
        if not any(part.startswith(".") for part in file.relative_to(run).parts):
            try:
                json.loads(file.read_bytes())
            except ValueError:
                found.append(f"{file.name} is half-written")
    for name, record in stage_records(run).items() if not found else ():
        for output, sha256 in record["outputs"].items():
            if not (run / output).is_file() or digest(run / output) != sha256:
                found.append(f"{output} is not what stage {name} wrote")
    for name in ("judged.jsonl", "private.jsonl"):
        file = run / name
        lines = _whole_lines(file).splitlines() if file.exists() else []
        count = Counter(json.loads(line)["arch"] for line in lines if line.strip())
        found += [f"{arch} stands {times} times in {name}" for arch, times in count.items() if times > 1]
    return found


def _whole_lines(file: Path) -> bytes:
    data = file.read_bytes()
    return data[: data.rfind(b"\n") + 1]
