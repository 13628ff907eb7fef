"""What one command reads: every document of a run once, every supernet once, every score once."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latency_tables import documents, store
from pipeline.cli.app import run_command
from pipeline.search.score_log import ScoreLog
from pipeline.spaces import files as space_files
from pipeline.supernets import files as weight_files
from tests.runs.conftest import FinishedRun


def _counted(function: Callable[..., Any], place: int, counts: Counter[str]) -> Callable[..., Any]:
    """`function`, counting by the name that is its argument number `place`."""

    def call(*arguments: Any) -> Any:
        counts[str(arguments[place])] += 1
        return function(*arguments)

    return call


def test_a_search_reads_everything_once(finished: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished.path, run)
    parsed: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for module, name, place in (
        (documents, "parse_json", 1),
        (documents, "parse_toml", 1),
        (space_files, "parse_toml", 1),
        (store, "parse_table", 1),
    ):
        monkeypatch.setattr(module, name, _counted(getattr(module, name), place, parsed))
    monkeypatch.setattr(weight_files, "read_tensors", _counted(weight_files.read_tensors, 0, weights))
    monkeypatch.setattr(ScoreLog, "_take", _counted(ScoreLog._take, 1, lines))
    assert run_command(["stage", "search", str(run), "--again"]) == 0

    regions = sorted(run.glob("children/*/supernet.safetensors"))
    assert weights == Counter(map(str, regions)) and len(regions) == 2
    once = {"run.json", "table.json", "budget.json", "partition.json", "data/data.json", "children/calibration.json"}
    there = {name for name in once if (run / name).exists()}
    assert {name: parsed[str(run / name)] for name in there} == dict.fromkeys(there, 1)
    assert parsed["quickstart"] == 1  # the space
    # Records of stages: once by whoever asks whether all before have finished, once by the stage for its inputs.
    assert {name: count for name, count in parsed.items() if count > 1 and "/stages/" not in name} == {}
    assert max(parsed.values()) == 2
    written = (run / "judged.jsonl").read_bytes().splitlines()
    assert len(written) >= 14 and len(lines) >= 14 and max(lines.values()) == 1
