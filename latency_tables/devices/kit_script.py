"""Time what a kit holds: everything in one zip file that Python runs.

    python kit.zip [ARGUMENTS]       times the models; writes results.json

It goes into kits as it is, beside the script of the device that times, so it imports nothing of pocketnas.
"""

from __future__ import annotations

import json
import random
import statistics
import zipfile
from pathlib import Path
from typing import Any, Protocol


class Device(Protocol):
    """What times a model; a description, and a timing as runner_script.py's `measure` gives it."""

    def describe(self) -> dict[str, Any]: ...

    def time(self, name: str, model: bytes, protocol: dict[str, Any]) -> dict[str, Any]: ...


def run_kit(kit: str, device: Device, out: str = "results.json") -> int:
    """Time every model in the zip file `kit` on `device`, visit by visit, and write `out`; the exit status.

    What is timed is kept in `out`.partial, one JSON line each: run it again to continue after a stop. A
    sentinel stands between the models; what stands beside one that drifted is timed again.
    """
    with zipfile.ZipFile(kit) as archive:
        job = json.loads(archive.read("job.json"))
        partial = Path(out + ".partial")
        header = {"kit": job["kit"], "device": dict(device.describe(), precision=job["precision"])}
        entries = _continued(partial, header)
        with partial.open("a") as stream:
            if not partial.stat().st_size:
                stream.write(json.dumps(header) + "\n")
            for visit in range(job["visits"]):
                _visit(archive, job, visit, entries, stream, device)
    document = dict(header, complete=True, plan=job["plan"], entries=entries)
    temporary = Path(out + ".new")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(out)
    partial.unlink()
    print("done: take %s back to the machine that made this kit" % out)  # noqa: UP031
    return 0


def _continued(partial: Path, header: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries that an earlier, stopped run of the same kit on the same device left."""
    lines = partial.read_text().split("\n") if partial.is_file() else []
    complete = lines[:-1]  # the last one was being written, or is empty
    if not complete or json.loads(complete[0]) != header:
        partial.write_text("")
        return []
    partial.write_text("\n".join(complete) + "\n")
    return [json.loads(line) for line in complete[1:]]


def _visit(
    archive: Any,
    job: dict[str, Any],
    visit: int,
    entries: list[dict[str, Any]],
    stream: Any,
    device: Device,
) -> None:
    def add(entry: dict[str, Any]) -> None:
        entries.append(entry)
        stream.write(json.dumps(entry) + "\n")
        stream.flush()

    def timed(name: str) -> None:
        model = archive.read(files[name])
        add(dict(device.time(name, model, job["protocol"]), kind="timing", visit=visit))

    def off() -> bool:
        times = [statistics.median(e["session_ms"]) for e in entries if e.get("name") == sentinel]
        usual = sorted(times)[len(times) // 4]
        return any(abs(value / usual - 1) > job["drift_percent"] / 100 for value in times[-2:])

    def disturbed(name: str) -> bool:
        return any(entry["disturbed"] for entry in entries[-len(segment) - 2 :] if entry.get("name") == name)

    files, sentinel = job["files"], job["sentinel"]
    for attempt in range(job["repeats"] + 1):
        done: set[str] = set()
        for entry in entries:
            if entry["visit"] == visit:
                done = done - set(entry["names"]) if entry["kind"] == "repeat" else done | {entry["name"]}
        left = sorted(set(files) - {sentinel} - done)
        random.Random("%d/%d/%d" % (job["seed"], visit, attempt)).shuffle(left)  # noqa: UP031
        for start in range(0, len(left), job["sentinel_every"]):
            segment = left[start : start + job["sentinel_every"]]
            timed(sentinel)
            for name in segment:
                timed(name)
            timed(sentinel)
            again = segment if off() else [name for name in segment if disturbed(name)]
            if attempt < job["repeats"] and again:
                add({"kind": "repeat", "visit": visit, "names": again})
            shown = (visit + 1, job["visits"], start + len(segment), len(left))
            print("visit %d of %d: %d of %d models" % shown, flush=True)  # noqa: UP031
