"""The run that faults are tried on: whole and real, a minute long, with an answer that no timing decides.

Its budget limits MACs only, and its search judges every network inside the budget: neither what the machine measured
nor which of several workers was first changes the winner, its weights or its accuracies.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

STAGES: Final = ("data", "profile", "train", "split", "search", "finetune", "export", "check", "report")
_SPACE: Final = """schema_version = 1
name = "faults"
classes = 10
resolutions = [12]
stem = { channels = 8, kernel = 3, stride = 1, activation = "relu" }
head = { channels = 32, activation = "relu" }

[defaults]
kernels = [3, 5]
expands = [2, 4]
activation = "relu"
stride = 2
depths = [1, 2]

[[stages]]
widths = [16]

[[stages]]
widths = [24]
squeeze = "mid/4"
"""
# One worker ranks by what labels taught, two by scores alone: between them they have all that a search can leave.
_RANKING: Final[Mapping[int, str]] = {
    1: 'rank_by = "ranker"\nlabels = 8\nprivate = 4\nprivate_batches = 4',
    2: 'rank_by = "score"\nprivate = 4\nprivate_batches = 4',
}
_CONFIG: Final = """seed = 3
[data]
path = "digits"
limit = 200
flip = false
[space]
name = "space.toml"
[device]
networks = 8
effort = "quick"
[budget]
macs = "180k"
[train]
epochs = 16
[split]
regions = 2
epochs = 4
[search]
evaluations = 400
images = 100
workers = {workers}
{ranking}
[finetune]
candidates = 2
epochs = 2
[export]
formats = ["onnx", "coreml"]
"""
# What a clock or the order of workers decides: seconds, latencies, numbers of trials.
_TIMED: Final = ("predicted_ms", "predicted_interval_ms", "latency_ms", "trial", "seconds_per_evaluation")


@dataclass(frozen=True, slots=True)
class Job:
    """The run with `workers` search workers (1 or 2); its configuration stands in `folder`."""

    folder: Path
    workers: int

    def write(self) -> None:
        """Write the configuration and the space."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "space.toml").write_text(_SPACE)
        ranking = _RANKING[self.workers]
        (self.folder / "config.toml").write_text(_CONFIG.format(workers=self.workers, ranking=ranking))

    def command(self, out: Path) -> list[str]:
        """Begin the run at `out`, or go on with it."""
        return pocketnas("run", self.folder / "config.toml", "--out", out, "--json")


def pocketnas(*words: object) -> list[str]:
    """The command line of this interpreter's product."""
    return [sys.executable, "-m", "pipeline", *map(str, words)]


def product() -> str:
    """A short name of the product's code."""
    import exporters
    import latency_tables
    import pipeline

    places = [place for package in (exporters, latency_tables, pipeline) for place in package.__path__]
    files = sorted(file for place in places for file in Path(place).rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def stage_records(run: Path) -> dict[str, dict[str, Any]]:
    """The records of the stages that have begun, by name."""
    files = {name: run / "stages" / f"{name}.json" for name in STAGES}
    return {name: json.loads(file.read_bytes()) for name, file in files.items() if file.exists()}


def stage_now(run: Path) -> str:
    """The stage that is at work, or the one that comes next; empty where all have finished."""
    records = stage_records(run)
    return next((name for name in STAGES if not records.get(name, {}).get("finished")), "")


def digest(file: Path) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def answer(run: Path) -> dict[str, Any]:
    """All that a run found and that no clock decides."""
    winner, candidates = (json.loads((run / name).read_bytes()) for name in ("winner/winner.json", "candidates.json"))
    return {
        "winner": _untimed(winner),
        "weights": digest(run / "winner" / "weights.safetensors"),
        "supernet": digest(run / "supernet" / "supernet.safetensors"),
        "partition": digest(run / "partition.json"),
        "candidates": _untimed(candidates["candidates"]),
        "front": candidates["front"],
        "onnx": digest(run / "exports" / "model.onnx"),
        "parity": [entry["parity"]["status"] for entry in _exports(run)],
        "files": sorted(_names(run)),
    }


def scores(run: Path) -> list[Any]:
    """The candidates of a search, best first, without what a clock decides."""
    found: list[Any] = _untimed(json.loads((run / "candidates.json").read_bytes())["candidates"])
    return found


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The parts of two answers that are not the same."""
    return [name for name in one if one[name] != other[name]]


def _exports(run: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((run / "exports" / "export.json").read_bytes())["exports"]
    return entries


def _names(run: Path) -> Iterable[str]:
    return (str(file.relative_to(run)) for file in run.rglob("*") if file.is_file())


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _untimed(inner) for key, inner in value.items() if key not in _TIMED}
    return [_untimed(inner) for inner in value] if isinstance(value, list) else value
