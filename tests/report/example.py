"""A run that never was, with everything that a report can show."""

import random
from typing import Any

from latency_tables.blocks import Block
from pipeline.gate.results import CheckResult
from pipeline.report.data import (
    BlockLatency,
    ExportRow,
    Pair,
    Point,
    RandomBaseline,
    RankEvidence,
    ReportData,
    StageSeconds,
    TableError,
    Trial,
    Winner,
)
from pipeline.spaces.files import load_space

HOSTILE = "</script><img src=x onerror=alert(1)>"


def example_report(seed: int = 0) -> ReportData:
    """Made-up figures for real architectures of the quickstart space."""
    rng = random.Random(seed)
    space = load_space("quickstart")
    archs = [space.sample(rng) for _ in range(150)]
    ms = [sum(_ms(block) for block in space.blocks(arch)) for arch in archs]
    accuracy = [0.8 + 0.17 * (1 - 2.718 ** (-4 * t / max(ms))) + rng.gauss(0, 0.012) for t in ms]
    limit = sorted(ms)[100]
    trials = tuple(
        Trial(n, str(arch), t, a if t <= limit else None, t <= limit)
        for n, (arch, t, a) in enumerate(zip(archs, ms, accuracy, strict=True))
    )
    best = max((t for t in trials if t.feasible), key=lambda t: t.accuracy or 0)
    blocks = space.blocks(archs[best.number])
    randoms = tuple(Point(str(archs[n]), ms[n], accuracy[n] + 0.02) for n in range(20) if trials[n].feasible)[:8]
    return ReportData(
        title="Sign digits",
        data="1,797 images of 10 classes",
        device="raspberry-pi-5 (onnxruntime 1.31.1, 1 thread)",
        winner=Winner(best.name, 0.987, 2_512_000, 201_000, best.latency_ms, (limit * 0.8, limit * 0.97), limit * 0.93),
        budget={"latency_ms": limit, "macs": 2.6e6, "accuracy": 0.97},
        tried=trials,
        baseline=RandomBaseline(tuple(p.accuracy for p in randoms), 2.1, 1.2, 3.0),
        random_points=randoms,
        blocks=tuple(BlockLatency(_label(block), _ms(block), block.macs) for block in blocks),
        fixed_ms=0.02,
        pairs=tuple(Pair(str(archs[n]), ms[n], ms[n] * rng.gauss(1, 0.03)) for n in range(40)),
        table_error=TableError(100, 2.1, 0.95, 1.07),
        ranks=(
            RankEvidence("accuracy in the supernet", 0.71, 0.58, 0.81),
            RankEvidence("MACs", 0.52, 0.33, 0.66),
            RankEvidence("parameters", 0.31, 0.08, 0.5),
        ),
        exports=(
            ExportRow("onnx", "fp32", "exports/model.onnx", 0.81, "passed", "", "ONNX Runtime 1.31.1", 2e-6, 1, 0.987),
            ExportRow("coreml", "fp16", "exports/model.mlpackage", 0.42, "passed", "graph", "MIL", 0.004, 1, 0.987),
            ExportRow("tensorrt", "fp16", "exports/model.engine", 0.9, "not run", "no GPU here"),
        ),
        checks=(
            _check("latency_ms", limit, best.latency_ms, "1 % to spare", device="pi", source="table"),
            _check("accuracy", 0.97, 0.987, f"1.7 % to spare {HOSTILE}", operator=">="),
            _check("size_mb", 0.4, 0.42, "5.00 % above the limit", level="warn", status="failed"),
        ),
        stages=tuple(
            StageSeconds(name, seconds)
            for name, seconds in (("data", 1.2), ("profile", 22.0), ("train", 48.5), ("split", 31.0), ("search", 27.7))
        ),
        provenance=(("command", "pocketnas quickstart --out run"), ("data sha256", "5d0e" * 16)),
    )  # fmt: skip


def _check(name: str, expected: float, actual: float, message: str, **changed: Any) -> CheckResult:
    fields = {"operator": "<=", "level": "error", "status": "passed", "model": "winner"} | changed
    return CheckResult(name=name, expected=expected, actual=actual, message=message, **fields)


def _ms(block: Block) -> float:
    return 0.004 + block.macs / 4e7


def _label(block: Block) -> str:
    return f"{block.kind} k{block.kernel} {block.in_channels}→{block.out_channels} @{block.in_size}"
