"""Every export format of a run's winner: size, time to write, parity on the run's test images, latency here.

    python -m benchmarks.exports.formats RUN OUT    # in the main environment, then in that of each extra

Targets whose tools this environment lacks are left to another one, with the same OUT; `export.json` in it keeps the
rows of all. What is in it already is not done again.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import common
from exporters import EXPORTERS, ExportError, ExportOptions, ExportReport, Samples, export_all, manifest
from pipeline.runs.run import Run
from pipeline.runs.winner import load_winner


def export(run_dir: Path, out: Path, targets: list[str]) -> None:
    """Export one target after the other, as separate calls; a line each with the seconds of the clock."""
    winner = load_winner(Run.open(run_dir))
    samples = Samples(winner.test_images, winner.test_labels, winner.calibration_images)
    # Engines of an earlier call would take no time.
    options = ExportOptions(cache_dir=out / "engines", predicted_ms=winner.predicted_ms)
    for target in targets:
        if target in rows(out) or not all(need.found for need in EXPORTERS[target].needs):
            continue
        begin, told = time.perf_counter(), "kept"
        try:
            export_all(winner.network, samples, [target], out, winner.metadata(), options)
        except ExportError as error:
            told = str(error)
        print(f"{target}: {told}, {time.perf_counter() - begin:.1f} s", flush=True)


def rows(out: Path) -> Mapping[str, ExportReport]:
    """What the folder has by now, by target."""
    if not (out / manifest.MANIFEST).exists():
        return {}
    return {entry.format: entry.report() for entry in manifest.read(out).exports}


def print_rows(found: Mapping[str, ExportReport]) -> None:
    """The table of docs/results/export.md."""
    head = ["target", "MB", "s", "executed by", "max diff", "mean diff", "top-1 agreement", "accuracy", "latency here"]
    common.print_table(head, [_cells(found[target]) for target in EXPORTERS if target in found])


def _cells(report: ExportReport) -> list[str]:
    parity = report.parity
    written = "refused" if report.path is None else f"{report.size_bytes / 1e6:.2f}"
    cells = [report.format, written, f"{report.seconds:.1f}", parity.by.split(" (")[0].split(",")[0] or "not run"]
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
    print_rows(rows(arguments.out))


if __name__ == "__main__":
    main()
