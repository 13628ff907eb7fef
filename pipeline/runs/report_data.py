"""What the report page shows of a run."""

from typing import TYPE_CHECKING

import numpy as np

from latency_tables.blocks import total_macs, total_params
from pipeline.ranking.statistics import tau_estimate
from pipeline.report.data import (
    BlockLatency,
    ExportRow,
    ImageCounts,
    Pair,
    Point,
    Published,
    RandomBaseline,
    RankEvidence,
    ReportData,
    ShownTableError,
    ShownWinner,
    StageSeconds,
    Trial,
)
from pipeline.runs.documents.report import Summary
from pipeline.runs.report_answers import winner_answers
from pipeline.runs.report_curves import training_curves
from pipeline.runs.report_networks import pickable_networks
from pipeline.runs.run import Run
from pipeline.runs.summary import ORIGINS, data_lines, published_rows, quantisation_rows
from pipeline.spaces.architecture import Architecture

if TYPE_CHECKING:
    from exporters.manifest import Entry


def report_data(run: Run, summary: Summary) -> ReportData:
    """Everything from the files of a finished run; `summary` is that of `build_summary`."""
    winner, latency, random = summary.winner, summary.winner.latency_ms, summary.random_baseline
    arch, table, measured = Architecture.parse(winner.arch), run.table, latency.measured
    low, high = latency.interval
    tried = _tried(run)
    return ReportData(
        title=run.path.resolve().name,
        data=run.config.data.path,
        device=latency.device,
        winner=ShownWinner(
            arch=winner.arch,
            accuracy=winner.accuracy,
            macs=winner.macs,
            params=winner.params,
            predicted_ms=latency.predicted,
            predicted_interval=None if low is None or high is None else (low, high),
            measured_ms=measured,
        ),
        budget={name: value for name, value in summary.budget.items() if isinstance(value, float)},
        tried=tried,
        baseline=None
        if random.relative_improvement_percent is None or random.relative_improvement_ci95 is None
        else RandomBaseline(
            accuracies=tuple(random.accuracies),
            improvement_percent=random.relative_improvement_percent,
            improvement_low=random.relative_improvement_ci95[0],
            improvement_high=random.relative_improvement_ci95[1],
            compared_accuracy=random.compared_accuracy,
        ),
        random_points=_trained_points(run, "random"),
        finalists=_trained_points(run, "candidate"),
        published=_published(summary),
        networks=pickable_networks(run, tried),
        answers=winner_answers(run),
        curves=training_curves(run),
        images=_image_counts(run),
        path=str(run.path),
        space=run.config.space.name,
        blocks=tuple(BlockLatency(block.key, table.block_ms(block), block.macs) for block in run.space.blocks(arch)),
        fixed_ms=table.fixed_ms,
        pairs=() if measured is None else (Pair("winner", latency.predicted, measured),),
        table_error=None
        if table.error is None
        else ShownTableError(
            table.error.networks,
            table.error.mape_percent,
            1 + table.error.residual_low,
            1 + table.error.residual_high,
        ),
        ranks=_ranks(run),
        exports=tuple(map(_export_row, summary.exports)),
        checks=tuple(summary.check.checks),
        stages=tuple(StageSeconds(name, seconds) for name, seconds in run.folder.stage_seconds()),
        provenance=(
            ("configuration", str(run.path / "run.json")),
            ("seed", str(run.config.seed)),
            *(("images", line.removeprefix("images: ").strip()) for line in data_lines(run)),
            ("latency table", "; ".join((table.device.name, table.provenance.created, *table.provenance.notes))),
            ("random networks inside the budget", f"{summary.feasible.share:.1%}"),
            ("search ranked by", summary.search.ranked_by),
            ("winner came from", ORIGINS.get(winner.origin, winner.origin)),
            ("accuracy and latency are of", winner.precision),
            *((name, f"{accuracy}; {beside}") for name, accuracy, beside in quantisation_rows(winner)),
            *((name, f"{accuracy}; {beside}") for name, accuracy, beside in published_rows(summary)),
            ("regions", ", ".join(f"{region.size:,} networks" for region in summary.regions)),
        ),
    )


def _tried(run: Run) -> tuple[Trial, ...]:
    accuracies = run.scorer.accuracies()
    entries = sorted(run.candidates.candidates, key=lambda entry: entry.trial)
    return tuple(
        Trial(entry.trial, entry.arch, entry.costs["latency_ms"], accuracies.get(entry.arch), feasible=True)
        for entry in entries
    )


def _image_counts(run: Run) -> ImageCounts:
    data = run.dataset
    return ImageCounts(len(data.train), len(data.search), len(data.test), len(data.classes))


def _published(summary: Summary) -> Published | None:
    found, linear = summary.published_baseline, summary.linear_baseline
    if found is None:
        return None
    low, high = found.improvement_ci95
    name = "the published network" if summary.start is None else summary.start.name
    return Published(name, found.accuracy, found.improvement, low, high, None if linear is None else linear.accuracy)


def _trained_points(run: Run, role: str) -> tuple[Point, ...]:
    """Networks of that role, without the winner, that were trained to the end."""
    return tuple(
        Point(
            entry.arch,
            run.table.network_ms(run.space.blocks(Architecture.parse(entry.arch))),
            entry.test_accuracy,
        )
        for entry in run.winner.trained
        if entry.role == role and entry.arch != run.winner.arch
    )


def _ranks(run: Run) -> tuple[RankEvidence, ...]:
    """How well scores and sizes order the networks that were trained to the end; none of what is undefined."""
    trained = run.winner.trained
    if len(trained) < 2:
        return ()
    truth = np.array([entry.test_accuracy for entry in trained])
    blocks = [run.space.blocks(Architecture.parse(entry.arch)) for entry in trained]
    proxies: dict[str, list[float]] = {name: [entry.scores[name] for entry in trained] for name in trained[0].scores}
    proxies |= {"MACs": [total_macs(b) for b in blocks], "parameters": [total_params(b) for b in blocks]}
    found = {name: tau_estimate(np.array(values, dtype=float), truth) for name, values in proxies.items()}
    return tuple(
        RankEvidence(name, tau.value, tau.low, tau.high)
        for name, tau in found.items()
        if tau.value is not None and tau.low is not None and tau.high is not None
    )


def _export_row(export: "Entry") -> ExportRow:
    parity = export.parity
    return ExportRow(
        format=export.format,
        precision=export.precision,
        path=export.path or "",
        size_mb=export.size_bytes / 1e6,
        status=parity.status,
        reason=parity.reason,
        by=parity.by,
        max_abs_diff=parity.max_abs_diff,
        top1_agreement=parity.top1_agreement,
        accuracy_after=parity.accuracy_after,
        latency_ms=export.latency_ms,
    )
