"""What a person can do next, each with the command for this run."""

import shlex
from dataclasses import dataclass
from html import escape

from pipeline.report.data import Pickable, ReportData
from pipeline.report.html import code, section


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do, and the commands that do it, in their order."""

    words: str
    commands: tuple[str, ...]


def build_command(run: str, network: str, latency_ms: float) -> str:
    """The command that trains, exports and checks one network of a finished run."""
    out = f"{run.rstrip('/')}-{latency_ms:.3g}ms"
    return shlex.join(["pocketnas", "specialise", run, "--out", out, "--arch", network])


def next_steps(data: ReportData) -> list[Step]:
    """The most useful first. None for a page of no run."""
    if not data.path:
        return []
    run = data.path.rstrip("/")
    steps = [
        Step("Try it on pictures of your own.", (shlex.join(["pocketnas", "predict", run, "photo.jpg"]),)),
        Step(
            "Write it for a phone and for plain PyTorch; every file is executed and compared.",
            (shlex.join(["pocketnas", "export", run, "--to", "coreml-fp16,ort,pt2"]),),
        ),
    ]
    if any(check.status == "failed" and check.name == "latency_ms" for check in data.checks):
        limit = data.budget.get("latency_ms", data.winner.predicted_ms)
        steps.insert(0, Step("The latency limit was missed: ask for a tenth less.", (_specialise(run, 0.9 * limit),)))
    elif (faster := _faster(data)) is not None:
        steps.append(
            Step(
                "Ask the same supernet for a faster network; the training is not repeated.", (_specialise(run, faster),)
            )
        )
    steps.append(
        Step(
            "Specialise for another device: measure it, then search on its table.",
            (
                shlex.join(
                    ["pocketnas", "profile", data.space, "--device", "ssh://pi@raspberrypi", "--out", "pi.json"]
                ),
                shlex.join(["pocketnas", "specialise", run, "--out", f"{run}-pi", "--table", "pi.json"]),
            ),
        )
    )
    gate = ["pocketnas", "check", f"{run}/exports/model.onnx", "--budget", "budget.toml"]
    steps.append(
        Step(
            "Keep it inside its limits: the same gate in your CI, with the limits in a file of yours.",
            (shlex.join([*gate, "--table", f"{run}/table.json"]),),
        )
    )
    return steps


def next_section(data: ReportData) -> str:
    """The steps as a list."""
    steps = next_steps(data)
    if not steps:
        return ""
    items = "".join(
        f"<li>{escape(step.words)}"
        + "".join(f'<div class="command">{code(command)}</div>' for command in step.commands)
        + "</li>"
        for step in steps
    )
    return section("next", "What next", f'<ol class="steps">{items}</ol>')


def _specialise(run: str, latency_ms: float) -> str:
    limit = f"{latency_ms:.3g}"
    words = ["pocketnas", "specialise", run, "--out", f"{run}-{limit}ms", "--latency-ms", limit]
    return shlex.join(words)


def _faster(data: ReportData) -> float | None:
    """A latency in the middle of what the front has below the winner's, so that such a network exists."""
    networks: tuple[Pickable, ...] = () if data.networks is None else data.networks.networks
    below = sorted(n.latency_ms for n in networks if n.on_front and n.latency_ms < 0.95 * data.winner.predicted_ms)
    return 1.02 * below[len(below) // 2] if below else None
