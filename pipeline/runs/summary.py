"""What a finished run prints: the document of the command-line contract, and a table for people."""

from typing import TYPE_CHECKING, Any

from pipeline.data.inventory import inventory_lines
from pipeline.runs.documents.check import CheckFacts, CheckFile
from pipeline.runs.documents.export import MeasuredLatency
from pipeline.runs.documents.finetune import RandomBaseline
from pipeline.runs.documents.report import Feasible, RegionSize, SearchFacts, Summary, SummaryWinner, WinnerLatency
from pipeline.runs.folder import RunFolder
from pipeline.runs.run import Run

if TYPE_CHECKING:
    from rich.console import Console

    from exporters.manifest import Entry

ORIGINS = {
    "candidate": "the search",
    "random": "the random networks, better on the search images than what it found",
    "published": "the published network, better on the search images than what was found",
}


def build_summary(run: Run) -> Summary:
    """Everything that a run found, from the files that its stages left."""
    from exporters import manifest

    winner, candidates, check = run.winner, run.candidates, CheckFile.load(run.folder.check)
    measured = MeasuredLatency.load(run.folder.latency)
    latency = WinnerLatency(
        predicted=winner.predicted_ms,
        interval=winner.predicted_interval_ms,
        measured=measured.measured_ms,
        clock=measured.clock,
        device=run.table.device.name,
    )
    return Summary(
        winner=SummaryWinner(
            arch=winner.arch,
            origin=winner.origin,
            accuracy=winner.accuracy,
            precision=winner.precision,
            quantisation=winner.quantisation,
            latency_ms=latency,
            macs=winner.macs,
            params=winner.params,
        ),
        data=run.inventory,
        budget=run.limits.budget,
        feasible=Feasible(
            share=run.limits.feasible_share,
            by_limit=run.limits.feasible_share_by_limit,
            of_random_networks=run.limits.random_networks,
        ),
        random_baseline=winner.random_baseline,
        published_baseline=winner.published_baseline,
        linear_baseline=winner.linear_baseline,
        start=run.start,
        threads=threads(),
        regions=[RegionSize(size=region.size) for region in run.partition.regions],
        search=SearchFacts(
            method=candidates.method,
            ranked_by=candidates.ranked_by,
            evaluations=candidates.evaluations,
            seconds_per_evaluation=candidates.seconds_per_evaluation,
        ),
        exports=manifest.read(run.folder.exports).exports,
        check=CheckFacts(passed=check.passed, checks=check.checks),
    )


def threads() -> int:
    """On how many threads this process computes."""
    import torch

    return torch.get_num_threads()


def data_lines(run: Run) -> list[str]:
    """What was found of images and what is left out, in a few lines; none for a run of an older version."""
    return list(inventory_lines(run.inventory)) if run.inventory else []


def summary_document(folder: RunFolder, summary: Summary) -> dict[str, Any]:
    """The summary with the seconds of every stage, as the contract has it."""
    stages = [{"name": name, "seconds": seconds} for name, seconds in folder.stage_seconds()]
    return {**summary.model_dump(mode="json"), "stages": stages}


def render_summary(console: "Console", folder: RunFolder, summary: Summary) -> None:
    """The same for a person: winner, budget, baseline, files."""
    from rich.table import Table

    winner = summary.winner
    table = Table(title=f"Winner {winner.arch}", title_justify="left", show_header=True)
    for heading in ("", "winner", "budget"):
        table.add_column(heading)
    for row in _rows(summary):
        table.add_row(*row)
    console.print(table)
    for export in summary.exports:
        console.print(_export_line(folder, export), highlight=False, markup=False, soft_wrap=True)
    seconds = folder.stage_seconds()
    times = ", ".join(f"{name} {spent:.0f}" for name, spent in seconds)
    console.print(f"seconds: {times}; {sum(spent for _, spent in seconds):.0f} in all", highlight=False)
    told = [check for check in summary.check.checks if not check.passed]
    passed = "[yellow]passed, with warnings[/yellow]" if told else "[green]passed[/green]"
    console.print(f"gate: {passed if summary.check.passed else '[red]failed[/red]'}")
    for check in told:
        level = "warning" if check.level == "warn" else "error"
        line = f"  {level}: {check.name}, {check.source}: {check.message}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"report: {folder.report}", highlight=False, markup=False, soft_wrap=True)


def _rows(summary: Summary) -> list[tuple[str, str, str]]:
    winner, latency, budget = summary.winner, summary.winner.latency_ms, summary.budget
    low, high = latency.interval
    reach = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    measured = "not measured" if latency.measured is None else f"{latency.measured:.3f} ms"
    return [
        (f"test accuracy{_of(winner)}", f"{winner.accuracy:.4f}", _limit(budget, "accuracy", ">= {:g}")),
        *quantisation_rows(winner),
        ("came from", ORIGINS.get(winner.origin, winner.origin), ""),
        ("latency, predicted", f"{latency.predicted:.3f} ms{reach}", _limit(budget, "latency_ms", "<= {:g} ms")),
        (f"latency, measured on {latency.device}", measured, ""),
        ("MACs", f"{winner.macs:,}", _limit(budget, "macs", "<= {:,.0f}")),
        ("parameters", f"{winner.params:,}", _limit(budget, "params", "<= {:,.0f}")),
        _random_row(summary.random_baseline),
        *published_rows(summary),
        ("random networks inside the budget", _share(summary.feasible.share), ""),
        ("search ranked by", summary.search.ranked_by, ""),
    ]


def _of(winner: SummaryWinner) -> str:
    return "" if winner.precision == "fp32" else f", {winner.precision}"


def quantisation_rows(winner: SummaryWinner) -> list[tuple[str, str, str]]:
    """What int8 cost, where the device computes so: name, accuracy before, and what was done about it."""
    found = winner.quantisation
    return [] if found is None else [("test accuracy, fp32", f"{found.fp32_accuracy:.4f}", found.reason)]


def _random_row(random: RandomBaseline) -> tuple[str, str, str]:
    if random.mean_accuracy is None or random.relative_improvement_ci95 is None:
        return ("random networks", "not compared", random.reason)
    low, high = random.relative_improvement_ci95
    shown = "" if low > 0 else " (worse than random)" if high < 0 else " (improvement not shown)"
    return (
        f"mean of {random.n} random networks",
        f"{random.mean_accuracy:.4f}",
        f"winner {random.relative_improvement_percent:+.2f} % ({low:+.2f} to {high:+.2f}){shown}",
    )


def published_rows(summary: Summary) -> list[tuple[str, str, str]]:
    """The published network and what its features give, beside the winner: name, accuracy, the winner's difference."""
    published = summary.published_baseline
    if published is None:
        return []
    low, high = (100 * end for end in published.improvement_ci95)
    shown = {"better": "", "worse": " (worse than published)"}.get(published.verdict, " (improvement not shown)")
    difference = f"winner {100 * published.improvement:+.2f} points ({low:+.2f} to {high:+.2f}){shown}"
    name = "published network" if summary.start is None else summary.start.name
    rows = [(f"{name}, scaled to the budget", f"{published.accuracy:.4f}", difference)]
    linear = summary.linear_baseline
    if linear is not None:
        points = 100 * (summary.winner.accuracy - linear.accuracy)
        short = " (worse: it was trained too short; give the run more time)" if points < 0 else ""
        beside = f"winner {points:+.2f} points{short}"
        rows.append(("linear classifier on its features", f"{linear.accuracy:.4f}", beside))
    return rows


def _share(share: float) -> str:
    return "100%: the limits bind nothing" if share == 1 else f"{share:.0%}"


def _limit(budget: dict[str, Any], name: str, form: str) -> str:
    value = budget.get(name)
    return "" if value is None or isinstance(value, dict) else form.format(value)


def _export_line(folder: RunFolder, export: "Entry") -> str:
    parity = export.parity
    if export.path is None:
        return f"{export.format}: not written: {parity.reason}"
    size = f"{export.size_bytes / 1e6:.2f} MB"
    if parity.status == "not run":
        return f"{export.format}: {folder.exports / export.path}, {size}, not verified: {parity.reason}"
    agreement = f"top-1 agreement {parity.top1_agreement:.2%}, largest difference {parity.max_abs_diff:.1e}"
    return f"{export.format}: {folder.exports / export.path}, {size}, parity {parity.status} ({agreement})"
