"""More answers from one training: another budget or device, with the images and supernets of a run that is there."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from latency_tables.files import write_atomic
from pipeline.budget import BudgetError, read_budget
from pipeline.runs.begin import create_or_open
from pipeline.runs.config import ONNX_FILES, BudgetConfig, Config, DeviceConfig
from pipeline.runs.documents.base import RunError
from pipeline.runs.documents.report import Summary
from pipeline.runs.folder import RunFolder
from pipeline.runs.outlook import Teller
from pipeline.runs.run import Run
from pipeline.runs.whole import all_stages
from pipeline.spaces.named import resolve_architecture

_LIMITS: Final = ("latency_ms", "macs", "params", "size_mb")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a trained supernet. `budget` replaces the run's whole budget, and without a `table` or a
    `device` latencies are those of the run's own table. A `precision` other than the table's is measured. With an
    `arch` nothing is searched: that network is trained, exported and checked."""

    budget: Mapping[str, float | str] = field(default_factory=dict)
    table: str | None = None
    device: str | None = None
    seed: int | None = None
    precision: Literal["fp32", "fp16", "int8"] | None = None
    arch: str | None = None


def parse_budget(text: str) -> dict[str, float | str]:
    """The limits in a text such as `latency_ms=5, macs=80M`; BudgetError says what is accepted."""
    limits: dict[str, float | str] = {}
    for part in text.split(","):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not value or key not in _LIMITS or key in limits:
            raise BudgetError(
                f"--budget {text!r}: {part.strip()!r} is no limit; accepted are {', '.join(_LIMITS)}, each once"
            )
        limits[key] = value
    read_budget(limits, f"--budget {text!r}")
    return limits


def folder_name(limits: Mapping[str, float | str]) -> str:
    """A folder's name that tells a budget: `latency_ms=5,macs=80M` as `latency_ms-5_macs-80M`."""
    return "_".join(f"{key}-{re.sub(r'[^0-9A-Za-z.]', '', str(value))}" for key, value in limits.items())


def specialise(source: RunFolder, out: Path, wish: Wish, teller: Teller, renew: bool = False) -> tuple[Run, Summary]:
    """A run at `out` for another budget or device: searched, trained, exported and checked with the supernet, the
    children and the images of `source`, which are verified and only read. What `source` judged or trained to the end
    is not done again. Killed, the same call continues.

    Raises RunError where `source` has not got so far, or `out` lies inside it or holds something else,
    ArchitectureError for an `arch` that its space has not; and what a stage raises.
    """
    base = source.base or source
    base.shared_records()
    for there in (source.path, base.path):
        if out.resolve().is_relative_to(there.resolve()):
            told = "is the run itself" if out.resolve() == there.resolve() else f"lies inside the run {there}"
            raise RunError(f"--out {out} {told}; choose another folder")
    if wish.arch is not None:
        resolve_architecture(Run(source).space, wish.arch)  # before anything is made
    with create_or_open(out, specialised(source, wish), base) as folder:
        _take_scores(source, folder)
        run = Run(folder)
        return run, all_stages(run, teller, renew)


def specialised(source: RunFolder, wish: Wish) -> Config:
    """The configuration of a run that grants `wish` with what `source` has trained."""
    config = source.config
    updates: dict[str, Any] = {}
    if wish.budget:
        read_budget(wish.budget, "the budget")
        updates["budget"] = BudgetConfig.model_validate(dict(wish.budget))
    if wish.table is not None:
        table = Path(wish.table)
        updates["device"] = config.device.model_copy(
            update={"table": str(table.resolve()) if table.exists() else wish.table}
        )
    elif wish.device is not None:
        updates["device"] = DeviceConfig(
            name=wish.device,
            threads=config.device.threads,
            effort=config.device.effort,
            networks=config.device.networks,
        )
    elif config.device.table is None and source.table.exists():
        updates["device"] = config.device.model_copy(update={"table": str(source.table.resolve())})
    if wish.precision is not None:
        device = updates.get("device", config.device)
        table_of = device.table if wish.table is not None else None
        updates["device"] = device.model_copy(update={"precision": wish.precision, "table": table_of})
        main, formats = ONNX_FILES[wish.precision], config.export.formats
        if formats is not None and main not in formats:
            updates["export"] = config.export.model_copy(update={"formats": [main, *formats]})
    updates["search"] = config.search.model_copy(update={"only": wish.arch})
    if wish.seed is not None:
        updates["seed"] = wish.seed
    return config.model_copy(update=updates)


def same_judging(one: Config, other: Config) -> bool:
    """Whether both judge a network on the same images in the same way."""
    return one.seed == other.seed and all(
        getattr(one.search, key) == getattr(other.search, key) for key in ("images", "private_batches")
    )


def _take_scores(source: RunFolder, folder: RunFolder) -> None:
    """Begin with what `source` has judged: the weights and images are the same."""
    if not same_judging(source.config, folder.config):
        return
    for theirs, ours in ((source.judged, folder.judged), (source.private, folder.private)):
        if theirs.is_file() and not ours.exists():
            write_atomic(ours, theirs.read_bytes())


def render_side_by_side(runs: Sequence[tuple[str, Summary]]) -> str:
    """One page that lays the winners of several budgets beside each other, by the names of their folders."""
    from html import escape

    heads = ("budget", "network", "test accuracy", "predicted ms", "measured ms", "MACs", "parameters", "gate")
    rows = []
    for name, summary in runs:
        winner, latency = summary.winner, summary.winner.latency_ms
        measured = "not measured" if latency.measured is None else f"{latency.measured:.3f}"
        cells = (
            winner.arch, f"{winner.accuracy:.2%}", f"{latency.predicted:.3f}", measured, f"{winner.macs:,}",
            f"{winner.params:,}", "passed" if summary.check.passed else "FAILED",
        )  # fmt: skip
        link = f'<a href="{escape(name, quote=True)}/report.html">{escape(name)}</a>'
        rows.append(f"<tr><td>{link}</td>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    return _PAGE.replace("HEAD", head).replace("ROWS", "\n".join(rows))


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>pocketnas: one training, several budgets</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root { color-scheme: light dark; } body { font: 16px/1.5 system-ui, sans-serif; margin: 1.5rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; } td, th { padding: .35rem .8rem; text-align: left;
border-bottom: 1px solid #8884; } td:nth-child(2) { font-family: monospace; font-size: .8em; }</style></head>
<body><h1>One training, several budgets</h1><div class="wide"><table><tr>HEAD</tr>
ROWS
</table></div></body></html>
"""
