"""More than one device: networks keep the limit of each, and the gate judges each by its table."""

from pathlib import Path

import numpy as np
import pytest

from latency_tables.store import save_table
from latency_tables.table import Calibration, DeviceInfo, LatencyTable, MissingRows, Provenance, Row
from pipeline.errors import InfeasibleBudget
from pipeline.runs.begin import create_or_open
from pipeline.runs.config import Config
from pipeline.runs.config_file import read_config
from pipeline.runs.documents.base import RunError
from pipeline.runs.engine import run_stage
from pipeline.runs.run import Run
from pipeline.runs.stages import STAGES
from pipeline.spaces.files import load_space


def _table(name: str, ms_of_kernel: dict[int, float], lacking: int = 0) -> LatencyTable:
    """A device on which a block's time is that of its kernel size; it lacks some blocks."""
    blocks = load_space("quickstart").with_classes(10).distinct_blocks()
    rows = {block.key: Row(median_ms=ms, network_ms=ms) for block in blocks for ms in [ms_of_kernel[block.kernel]]}
    return LatencyTable(
        device=DeviceInfo(name=name, runtime="onnxruntime", runtime_version="1.23.0", precision="fp32"),
        calibration=Calibration(method="none"),
        provenance=Provenance(created="2026-11-01T00:00:00Z", tool="test", source="made up"),
        rows=dict(list(rows.items())[lacking:]),
    )


def _config(folder: Path, limits: str, other: str = "phone") -> Config:
    save_table(_table("board", {1: 0.5, 3: 1.0, 5: 1.0}), folder / "board.json")
    save_table(_table("phone", {1: 0.5, 3: 1.0, 5: 5.0}), folder / "phone.json")
    save_table(_table("torn", {1: 0.5, 3: 1.0, 5: 5.0}, lacking=3), folder / "torn.json")
    (folder / "run.toml").write_text(
        f'[data]\npath = "digits"\nlimit = 30\n[space]\nname = "quickstart"\n[device]\ntable = "board.json"\n{limits}'
        f'\n[devices.{other}]\ntable = "{"torn" if other == "torn" else "phone"}.json"\nlatency_ms = 14\n'
    )
    return read_config(folder / "run.toml")


def _profiled(folder: Path, config: Config) -> Run:
    with create_or_open(folder / "run", config) as there:
        run = Run(there)
        for stage in STAGES[:2]:
            run_stage(run, stage, lambda done, total, what: None)
        return run


def test_networks_must_fit_on_each_device(tmp_path: Path) -> None:
    run = _profiled(tmp_path, _config(tmp_path, "[budget]\nlatency_ms = 8"))
    codes = run.codes
    rows = codes.sample(2000, np.random.default_rng(0))
    costs = run.costs
    values = costs.values(rows)
    board, phone = (values[name] * costs[name].margin for name in ("latency_ms", "latency_ms.phone"))
    assert (costs.feasible(rows) == ((board <= 8) & (phone <= 14))).all()
    assert 0 < costs.feasible(rows).sum() < min((board <= 8).sum(), (phone <= 14).sum())


def test_the_own_device_may_be_without_a_limit(tmp_path: Path) -> None:
    run = _profiled(tmp_path, _config(tmp_path, ""))
    assert [(limit.name, limit.limit) for limit in run.costs.limits] == [("latency_ms.phone", 14)]


def test_what_no_device_can_do_is_said_before_training(tmp_path: Path) -> None:
    with pytest.raises(MissingRows, match="torn"):
        _profiled(tmp_path, _config(tmp_path, "", "torn"))
    (tmp_path / "a").mkdir()
    with pytest.raises(RunError, match=r"\[devices.board\] is the run's own device"):
        _profiled(tmp_path / "a", _config(tmp_path / "a", "", "board"))
    (tmp_path / "b").mkdir()
    with pytest.raises(InfeasibleBudget, match=r"latency_ms <= 0.1: the least is"):
        _profiled(tmp_path / "b", _config(tmp_path / "b", "[budget]\nlatency_ms = 0.1"))
