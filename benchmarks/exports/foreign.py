"""Networks of other people's kinds in every target: which files are written and pass, which are refused and why.

    python -m benchmarks.exports.foreign measure ROWS.jsonl    # in the main environment, then in that of each extra
    python -m benchmarks.exports.foreign table ROWS.jsonl

The networks are those of tests/exporters/networks.py, 200 images each. What is in ROWS already is not done again.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from benchmarks import common
from exporters import EXPORTERS, Exporter, ExportError, ExportOptions, ExportRequest, Metadata, Samples, export_all
from exporters.deployed import expected_outputs, prepared
from exporters.isolated import opened
from exporters.request import THRESHOLDS, usual_range
from exporters.rounding import half_precision_error
from tests.exporters.networks import NETWORKS, Function, made

ANY_BATCH: Final = "attention over any number of images"
NOWHERE: Final = "an operator that no phone has"
FORMATS: Final = ("onnx", "coreml", "coreai", "litert", "executorch", "tensorrt", "pt2")


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one network in one target.

    Of fp16: `off_by` is the root mean square of the differences, in units of what fp16 costs the network itself;
    `others` is how many images get another class, `beyond` how many of them are no tie.
    """

    network: str
    target: str
    precision: str
    status: str
    reason: str
    seconds: float
    max_abs_diff: float | None = None
    top1_agreement: float | None = None
    off_by: float | None = None
    others: int | None = None
    beyond: int | None = None


def case(name: str) -> tuple[nn.Module, Samples, ExportOptions]:
    """The network of a row, its images, and how it is exported."""
    if name == ANY_BATCH:
        return *made("multi-head attention"), ExportOptions(batch=None)
    if name == NOWHERE:
        network, samples = made("one channel")
        return nn.Sequential(Function(torch.special.bessel_j0), network).eval(), samples, ExportOptions()
    return *made(name), ExportOptions()


def measured(name: str, exporter: Exporter) -> Row:
    """Export one network to one target, as a user would."""
    network, samples, options = case(name)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            export_all(network, samples, [exporter], Path(folder), Metadata(), options)
        except ExportError as error:
            told = str(error)
        else:
            told = ""
        seconds = time.perf_counter() - begin
        manifest = Path(folder) / "export.json"
        parity = json.loads(manifest.read_text())["exports"][0]["parity"] if manifest.exists() else {}
    deviation: dict[str, Any] = {}
    if exporter.precision == "fp16" and parity.get("max_abs_diff") is not None:
        deviation = deviating(network, samples, options, exporter)
    return Row(
        name,
        exporter.target,
        exporter.precision,
        "failed" if told else parity["status"],
        " ".join((told or parity["reason"]).split()),
        round(seconds, 2),
        parity.get("max_abs_diff"),
        parity.get("top1_agreement"),
        **deviation,
    )


def deviating(network: nn.Module, samples: Samples, options: ExportOptions, exporter: Exporter) -> dict[str, Any]:
    """How far a fp16 file is off, also one that is not kept."""
    copied, only = prepared(network, samples, options.batch)
    with tempfile.TemporaryDirectory() as folder:
        request = ExportRequest(copied, samples, Metadata(), options, Path(folder), only)
        expected = expected_outputs(request).astype(np.float64)
        path = Path(folder) / f"file{exporter.suffix}"
        exporter.convert(request, path)
        outputs = opened(exporter, path, ours=True)[0].run(samples.images)
        cost = half_precision_error(request, expected) * usual_range(expected)
    chosen = expected[np.arange(len(expected)), outputs.argmax(axis=1)]
    behind = expected.max(axis=1) - chosen
    return {
        "off_by": float(np.sqrt(np.mean((outputs - expected) ** 2))) / cost,
        "others": int(np.sum(behind > 0)),
        "beyond": int(np.sum(behind > THRESHOLDS["fp16"].tie * cost)),
    }


def measure(file: Path, targets: Sequence[str]) -> None:
    """Add what is not in `file` yet, of the targets whose tools this environment has."""
    done = {(row.network, row.target) for row in read(file)}
    here = [EXPORTERS[name] for name in targets if all(need.found for need in EXPORTERS[name].needs)]
    for exporter in here:
        # int8 is for trained networks; these have a trained head.
        special = () if exporter.precision == "int8" else (ANY_BATCH, NOWHERE)
        for name in (*NETWORKS, *special):
            if (name, exporter.target) not in done:
                row = measured(name, exporter)
                with file.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(asdict(row)) + "\n")
                print(f"{row.target}, {row.network}: {row.status} {row.reason}", flush=True)


def read(file: Path) -> list[Row]:
    """The rows so far; none where there is no file yet."""
    return [Row(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def table(rows: Sequence[Row]) -> None:
    """Print what docs/export.md has: networks by formats in fp32, other precisions by targets, and every refusal."""
    found = {(row.network, row.target): row for row in rows}
    targets = [name for name in FORMATS if any(row.target == name for row in rows)]
    names = [name for name in (*NETWORKS, ANY_BATCH, NOWHERE) if any(row.network == name for row in rows)]
    common.print_table(
        ["network", *targets], [[name, *(_cell(found.get((name, target))) for target in targets)] for name in names]
    )
    print()
    others = [name for name in EXPORTERS if name not in FORMATS and any(row.target == name for row in rows)]
    common.print_table(
        ["target", "networks", "kept", "off by", "images with another class", "of those beyond a tie"],
        [_line([row for row in rows if row.target == name]) for name in others],
    )
    print()
    for row in rows:
        if row.status == "failed":
            print(f"* {row.target}, {row.network}: {row.reason}")


def _cell(row: Row | None) -> str:
    if row is None:
        return "-"
    return {"passed": "yes", "failed": "**no**", "not run": "built"}[row.status]


def _line(rows: Sequence[Row]) -> list[str]:
    """One target's, of the networks that it has an answer for."""
    off = sorted(row.off_by for row in rows if row.off_by is not None)
    others, beyond = (sum(getattr(row, name) or 0 for row in rows) for name in ("others", "beyond"))
    kept = sum(row.status != "failed" for row in rows)
    figures = [f"{off[0]:.2f} to {off[-1]:.2f} e", f"{others} of {200 * len(off):,}", str(beyond)] if off else ["-"] * 3
    return [rows[0].target, str(len(rows)), str(kept), *figures]


def main() -> None:
    """Parse the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("action", choices=["measure", "table"])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--targets", default=",".join(EXPORTERS))
    arguments = parser.parse_args()
    if arguments.action == "measure":
        measure(arguments.rows, arguments.targets.split(","))
    else:
        table(read(arguments.rows))


if __name__ == "__main__":
    main()
