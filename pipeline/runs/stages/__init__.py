"""The stages of a run, in order. Their modules import heavy tools only when they work."""

from typing import Final

from pipeline.runs.engine import RunStage
from pipeline.runs.stages import check, data, export, finetune, profile, report, search, split, train
from pipeline.search.settings import relaxing

STAGES: Final[tuple[RunStage, ...]] = (
    RunStage("data", ("data", "space"), (), lambda run: [run.data], data.work, outside=data.outside),
    RunStage(
        "profile",
        ("space", "device", "devices", "budget"),
        ("data",),
        lambda run: [run.table, run.budget, *([run.other_tables] if run.config.devices else [])],
        profile.work,
    ),
    RunStage("train", ("data", "space", "train"), ("data",), lambda run: [run.supernet], train.work),
    RunStage(
        "split", ("data", "train", "split"), ("data", "train"), lambda run: [run.partition, run.children], split.work
    ),
    RunStage(
        "search",
        ("data", "train", "search"),
        ("data", "profile", "split"),
        lambda run: [
            *([run.study] if run.study.exists() else []),  # it may be in a database
            run.private,
            run.judged,
            *([run.scratch] if run.scratch.exists() else []),
            *([run.relaxed] if relaxing(run.config.search.method) else []),
            run.candidates,
        ],
        search.work,
        discard=search.discard,
    ),
    RunStage(
        "finetune",
        ("data", "train", "finetune"),
        ("data", "profile", "split", "search"),
        lambda run: [run.winner],
        finetune.work,
    ),
    RunStage("export", ("device", "export"), ("finetune",), lambda run: [run.exports, run.latency], export.work),
    RunStage(
        "check", (), ("profile", "finetune", "export"), lambda run: [run.check, run.junit], check.work, summary=True
    ),
    RunStage("report", (), ("check",), lambda run: run.told, report.work, summary=True),
)
