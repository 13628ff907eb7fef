"""A run that never was, with everything that a report can show."""

import io
import random
from typing import Any

import numpy as np
from PIL import Image

from latency_tables.blocks import Block
from pipeline.gate.results import CheckResult
from pipeline.report.data import (
    Answers,
    BlockLatency,
    Curve,
    CurvePoint,
    ExportRow,
    ImageCounts,
    Mistake,
    Networks,
    Pair,
    Pickable,
    Point,
    Published,
    RandomBaseline,
    RankEvidence,
    ReportData,
    ShownTableError,
    ShownWinner,
    StageSeconds,
    Trial,
    front,
)
from pipeline.report.next_steps import build_command
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace

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
        winner=ShownWinner(
            best.name, 0.987, 2_512_000, 201_000, best.latency_ms, (limit * 0.8, limit * 0.97), limit * 0.93
        ),
        budget={"latency_ms": limit, "macs": 2.6e6, "accuracy": 0.97},
        tried=trials,
        baseline=RandomBaseline(tuple(p.accuracy for p in randoms), 2.1, 1.2, 3.0),
        random_points=randoms,
        finalists=(Point(trials[0].name, ms[0], 0.97),),
        published=Published("efficientnet-lite0", 0.97, 0.017, 0.004, 0.03, 0.91),
        networks=_networks(space, archs, trials, best.name),
        answers=_answers(rng),
        curves=(
            Curve(
                "supernet",
                tuple(
                    CurvePoint(n, 2.3 / n, 0.1 / n, {"largest": 1 - 1 / n, "smallest": 1 - 1.2 / n} if n % 2 else None)
                    for n in range(1, 12)
                ),
            ),
        ),
        images=ImageCounts(1200, 270, 327, 10),
        path="runs/sign digits",
        space="quickstart",
        blocks=tuple(BlockLatency(_label(block), _ms(block), block.macs) for block in blocks),
        fixed_ms=0.02,
        pairs=tuple(Pair(str(archs[n]), ms[n], ms[n] * rng.gauss(1, 0.03)) for n in range(40)),
        table_error=ShownTableError(100, 2.1, 0.95, 1.07),
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


def _networks(space: SearchSpace, archs: list[Architecture], trials: tuple[Trial, ...], winner: str) -> Networks:
    kinds = space.distinct_blocks()
    places = {block: place for place, block in enumerate(kinds)}
    judged = {t.name: t for t in trials if t.accuracy is not None}
    best = {p.name for p in front(tuple(Point(t.name, t.latency_ms, t.accuracy or 0) for t in judged.values()))}
    networks = [
        Pickable(
            name=str(arch),
            latency_ms=judged[str(arch)].latency_ms,
            accuracy=judged[str(arch)].accuracy or 0,
            how="of the search images with inherited weights",
            macs=sum(block.macs for block in space.blocks(arch)),
            params=sum(block.params for block in space.blocks(arch)),
            blocks=tuple(places[block] for block in space.blocks(arch)),
            on_front=str(arch) in best,
            command="" if str(arch) == winner else build_command("runs/sign digits", str(arch), 1.5),
        )
        for arch in dict.fromkeys(archs)
        if str(arch) in judged
    ]
    networks.sort(key=lambda network: network.latency_ms)
    return Networks(
        tuple(BlockLatency(_label(block), _ms(block), block.macs) for block in kinds), tuple(networks), 0.02
    )


def _answers(rng: random.Random) -> Answers:
    """Ten classes, one of them with a hostile name, a few mistakes."""
    classes = ("0", "1", "2", "3", "4", "5", "6", "7", HOSTILE, "neun\u202eevil\n9")
    confusion = np.diag([30 + n for n in range(10)])
    for _ in range(14):
        confusion[rng.randrange(10), rng.randrange(10)] += 1
    stream = io.BytesIO()
    Image.effect_noise((16, 16), 60).convert("RGB").save(stream, "PNG")
    mistakes = tuple(
        Mistake(stream.getvalue(), "image/png", classes[8], classes[9], 0.99 - n / 50, f"{n}/{HOSTILE}.png")
        for n in range(5)
    )
    return Answers(classes, confusion, mistakes)


def _check(name: str, expected: float, actual: float, message: str, **changed: Any) -> CheckResult:
    fields = {"operator": "<=", "level": "error", "status": "passed", "model": "winner"} | changed
    return CheckResult(name=name, expected=expected, actual=actual, message=message, **fields)


def _ms(block: Block) -> float:
    return 0.004 + block.macs / 4e7


def _label(block: Block) -> str:
    return f"{block.kind} k{block.kernel} {block.in_channels}→{block.out_channels} @{block.in_size}"
