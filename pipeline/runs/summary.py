"""What a finished run prints: the document of the command-line contract, and a table for people."""

from typing import TYPE_CHECKING, Any

from pipeline.data.inventory import inventory_lines
from pipeline.runs.folder import RunFolder, read_json

if TYPE_CHECKING:
    from rich.console import Console


def build_summary(run: RunFolder) -> dict[str, Any]:
    """Everything that a run found, from the files that its stages left."""
    winner, budget = read_json(run.winner / "winner.json"), read_json(run.budget)
    candidates, latency = read_json(run.candidates), read_json(run.latency)
    partition, check = read_json(run.partition), read_json(run.check)
    return {
        "winner": {
            "arch": winner["arch"],
            "accuracy": winner["accuracy"],
            "latency_ms": {
                "predicted": winner["predicted_ms"],
                "interval": winner["predicted_interval_ms"],
                "measured": latency["measured_ms"],
                "device": latency["device"],
            },
            "macs": winner["macs"],
            "params": winner["params"],
        },
        "data": read_json(run.data / "data.json").get("inventory"),
        "budget": budget["budget"],
        "feasible": {
            "share": budget["feasible_share"],
            "by_limit": budget["feasible_share_by_limit"],
            "of_random_networks": budget["random_networks"],
        },
        "random_baseline": winner["random_baseline"],
        "start": read_json(run.start) if run.start.exists() else None,
        "regions": [{"size": region["size"]} for region in partition["regions"]],
        "search": {key: candidates[key] for key in ("method", "ranked_by", "evaluations", "seconds_per_evaluation")},
        "exports": read_json(run.exports / "export.json")["exports"],
        "check": {"passed": check["passed"], "checks": check["checks"]},
    }


def read_summary(run: RunFolder) -> dict[str, Any]:
    """The summary with the seconds of every stage, as the contract has it."""
    stages = [{"name": name, "seconds": seconds} for name, seconds in run.stage_seconds()]
    return {**read_json(run.summary), "stages": stages}


def data_lines(run: RunFolder) -> list[str]:
    """What was found of images and what is left out, in a few lines; none for a run of an older version."""
    inventory = read_json(run.data / "data.json").get("inventory")
    return list(inventory_lines(inventory)) if inventory else []


def render_summary(console: "Console", run: RunFolder, summary: dict[str, Any]) -> None:
    """The same for a person: winner, budget, baseline, files."""
    from rich.table import Table

    winner, latency, random = summary["winner"], summary["winner"]["latency_ms"], summary["random_baseline"]
    table = Table(title=f"Winner {winner['arch']}", title_justify="left", show_header=True)
    for heading in ("", "winner", "budget"):
        table.add_column(heading)
    budget = summary["budget"]
    low, high = random["relative_improvement_ci95"]
    shown = "" if low > 0 else " (worse than random)" if high < 0 else " (improvement not shown)"
    measured = "not measured" if latency["measured"] is None else f"{latency['measured']:.3f} ms"
    interval = latency["interval"]
    reach = "" if interval[0] is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
    rows = [
        ("test accuracy", f"{winner['accuracy']:.4f}", _limit(budget, "accuracy", ">= {:g}")),
        ("latency, predicted", f"{latency['predicted']:.3f} ms{reach}", _limit(budget, "latency_ms", "<= {:g} ms")),
        (f"latency, measured on {latency['device']}", measured, ""),
        ("MACs", f"{winner['macs']:,}", _limit(budget, "macs", "<= {:,.0f}")),
        ("parameters", f"{winner['params']:,}", _limit(budget, "params", "<= {:,.0f}")),
        (
            f"mean of {random['n']} random networks",
            f"{random['mean_accuracy']:.4f}",
            f"winner {random['relative_improvement_percent']:+.2f} % ({low:+.2f} to {high:+.2f}){shown}",
        ),
        ("random networks inside the budget", f"{summary['feasible']['share']:.0%}", ""),
        ("search ranked by", summary["search"]["ranked_by"], ""),
    ]
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for export in summary["exports"]:
        console.print(_export_line(run, export), highlight=False, markup=False, soft_wrap=True)
    seconds = sum(stage["seconds"] for stage in summary["stages"])
    times = ", ".join(f"{stage['name']} {stage['seconds']:.0f}" for stage in summary["stages"])
    console.print(f"seconds: {times}; {seconds:.0f} in all", highlight=False)
    told = [check for check in summary["check"]["checks"] if not check["passed"]]
    passed = "[yellow]passed, with warnings[/yellow]" if told else "[green]passed[/green]"
    console.print(f"gate: {passed if summary['check']['passed'] else '[red]failed[/red]'}")
    for check in told:
        level = "warning" if check["level"] == "warn" else "error"
        line = f"  {level}: {check['name']}, {check['source']}: {check['message']}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"report: {run.report}", highlight=False, markup=False, soft_wrap=True)


def _limit(budget: dict[str, Any], name: str, form: str) -> str:
    value = budget.get(name)
    return "" if value is None or isinstance(value, dict) else form.format(value)


def _export_line(run: RunFolder, export: dict[str, Any]) -> str:
    parity = export["parity"]
    if export["path"] is None:
        return f"{export['format']}: not written: {parity['reason']}"
    size = f"{export['size_bytes'] / 1e6:.2f} MB"
    if parity["status"] == "not run":
        return f"{export['format']}: {run.exports / export['path']}, {size}, not verified: {parity['reason']}"
    agreement = f"top-1 agreement {parity['top1_agreement']:.2%}, largest difference {parity['max_abs_diff']:.1e}"
    return f"{export['format']}: {run.exports / export['path']}, {size}, parity {parity['status']} ({agreement})"
