"""Every export format of a run's winner: size, time to write, parity on the run's test images, latency here.

    python -m benchmarks.exports.formats RUN OUT    # in the main environment, then in that of each extra

Targets whose tools this environment lacks are left to another one, with the same OUT; `export.json` in it keeps the
rows of all. What is in it already is not done again.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks import common
from exporters import EXPORTERS, ExportError, ExportOptions, ExportReport, Samples, export_all, manifest
from pipeline.runs.run import Run
from pipeline.runs.winner import load_winner

CPU_SECONDS: Final = "cpu-seconds.json"


def export(run_dir: Path, out: Path, targets: list[str]) -> None:
    """Export one target after the other, as separate calls, and keep what CPU time each took."""
    winner = load_winner(Run.open(run_dir))
    samples = Samples(winner.test_images, winner.test_labels, winner.calibration_images)
    # Engines of an earlier call would take no time.
    options = ExportOptions(cache_dir=out / "engines", predicted_ms=winner.predicted_ms)
    for target in targets:
        if target in rows(out) or not all(need.found for need in EXPORTERS[target].needs):
            continue
        begin, told = _cpu_seconds(), "kept"
        try:
            export_all(winner.network, samples, [target], out, winner.metadata(), options)
        except ExportError as error:
            told = str(error)
        spent = {**cpu_seconds(out), target: round(_cpu_seconds() - begin, 2)}
        (out / CPU_SECONDS).write_text(json.dumps(spent, indent=1))
        print(f"{target}: {told}, {spent[target]:.1f} CPU s", flush=True)


def _cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def cpu_seconds(out: Path) -> dict[str, float]:
    """Of the targets that the folder has by now."""
    file = out / CPU_SECONDS
    return dict(json.loads(file.read_text())) if file.exists() else {}


def rows(out: Path) -> Mapping[str, ExportReport]:
    """What the folder has by now, by target."""
    if not (out / manifest.MANIFEST).exists():
        return {}
    return {entry.format: entry.report() for entry in manifest.read(out).exports}


def print_rows(out: Path) -> None:
    """The table of docs/results/export.md."""
    head = ["target", "MB", "s", "CPU s", "executed by", "max diff", "mean diff", "top-1 agreement", "accuracy"]
    found, spent = rows(out), cpu_seconds(out)
    cells = [_cells(found[target], spent[target]) for target in EXPORTERS if target in found]
    common.print_table([*head, "latency here"], cells)


def _cells(report: ExportReport, cpu_s: float) -> list[str]:
    parity = report.parity
    written = "refused" if report.path is None else f"{report.size_bytes / 1e6:.2f}"
    cells = [
        report.format,
        written,
        f"{report.seconds:.1f}",
        f"{cpu_s:.1f}",
        parity.by.split(" (")[0].split(",")[0] or "not run",
    ]
    for value, spec in (
        (parity.max_abs_diff, ".2g"),
        (parity.mean_abs_diff, ".2g"),
        (parity.top1_agreement, ".2%"),
        (parity.accuracy_after, ".2%"),
    ):
        cells.append("" if value is None else format(value, spec))
    return [*cells, "" if report.latency_ms is None else f"{report.latency_ms:.2f} ms"]


def main() -> None:
    """Parse the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--targets", default=",".join(EXPORTERS))
    arguments = parser.parse_args()
    export(arguments.run, arguments.out, arguments.targets.split(","))
    print_rows(arguments.out)


if __name__ == "__main__":
    main()
