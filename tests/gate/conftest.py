"""Models and tables that the gate's tests share. Nothing here needs torch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from latency_tables.blocks import Block
from latency_tables.onnx_models import build_model
from latency_tables.store import save_table
from latency_tables.table import Calibration, DeviceInfo, ErrorReport, LatencyTable, Provenance, Row

TINY = (
    Block("conv", 16, 3, 8, 3, 2, activation="hswish"),
    Block("mbconv", 8, 8, 8, 3, 1, 16, 8, "relu", True),
    Block("mbconv", 8, 8, 12, 5, 2, 24, 0, "hswish", False),
    Block("conv", 4, 12, 24, activation="hswish"),
    Block("pool", 4, 24, 24),
    Block("mix", 1, 24, 16, activation="hswish"),
    Block("linear", 1, 16, 10),
)
FILES = Path(__file__).parent / "files"


def made_table(
    blocks: Sequence[Block] = TINY,
    ms: float = 1.0,
    precision: str = "fp32",
    created: str = "2026-11-01T00:00:00Z",
    error: bool = True,
) -> LatencyTable:
    """A table in which every block takes `ms`, and 5 % more or less in a network."""
    report = ErrorReport(
        networks=20, mape_percent=2.0, rmse_ms=0.1, spearman=0.99, within_5_percent=0.95, within_10_percent=1.0,
        worst_under_percent=5.0, residual_low=-0.05, residual_high=0.05,
    )  # fmt: skip
    return LatencyTable(
        device=DeviceInfo(name="board", runtime="onnxruntime", runtime_version="1.23.0", precision=precision),
        calibration=Calibration(method="none"),
        error=report if error else None,
        provenance=Provenance(created=created, tool="test", source="made up"),
        rows={block.key: Row(median_ms=ms, network_ms=ms) for block in blocks},
    )


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """An ONNX file of the blocks TINY."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(build_model(TINY))
    return path


@pytest.fixture
def bigger(tmp_path: Path) -> Path:
    """TINY with its second block twice."""
    path = tmp_path / "bigger.onnx"
    path.write_bytes(build_model((*TINY[:2], TINY[1], *TINY[2:])))
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of TINY's blocks, 1 ms each."""
    path = tmp_path / "board.json"
    save_table(made_table(), path)
    return path


@pytest.fixture
def budget(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a budget file with the given text."""

    def write(text: str) -> Path:
        path = tmp_path / "budget.toml"
        path.write_text(text)
        return path

    return write
