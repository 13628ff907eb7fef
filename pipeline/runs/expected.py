"""What the stages of a run will cost on this machine, from a few measured steps of training."""

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from pipeline.runs.documents.base import Document
from pipeline.runs.folder import STAGE_NAMES
from pipeline.runs.outlook import in_words
from pipeline.runs.plan import run_plan
from pipeline.runs.run import Run
from pipeline.runs.timed import remaining, scheduled, seconds_per_image, seconds_per_step

if TYPE_CHECKING:
    from pipeline.fewshot.plan import FewShotPlan

_EXPORT_SECONDS: Final = 15.0
_LAST_SECONDS: Final = 2.0  # the gate and the page
_PROPOSAL_SECONDS: Final = 0.05
_SHARED_STAGES: Final = ("train", "split", "search", "finetune")  # among the processes of a team


class Expected(Document):
    """`expected.json`: seconds by stage from training on, as expected before it began."""

    seconds: dict[str, Annotated[float, Field(ge=0)]]

    @property
    def line(self) -> str:
        """For people."""
        told = [(stage, spent) for stage in STAGE_NAMES if (spent := self.seconds.get(stage, 0.0)) >= 1]
        parts = ", ".join(f"{stage} {in_words(spent)}" for stage, spent in told)
        return f"about {in_words(sum(self.seconds.values()))} from here on this machine: {parts}"


def expected(run: Run) -> Expected:
    """What was expected of the run; measured now where it has not been."""
    file = run.folder.expected
    if not file.exists():
        _measured(run).save(file)
    return Expected.load(file)


def _measured(run: Run) -> Expected:
    plan, steps = run_plan(run), _steps_per_epoch(run)
    if run.config.train.limited:
        schedule = scheduled(run)
        step, image = schedule.seconds_per_step, schedule.seconds_per_image
        train, split = schedule.train_epochs, schedule.split_epochs
    else:
        step, image = seconds_per_step(run), seconds_per_image(run)
        train, split = run.config.train.epochs, run.config.split.epochs
    seconds = {
        "train": train * steps * step,
        "split": plan.regions * split * steps * step + plan.gradient_images * image,
        "search": _search_seconds(run, plan, image),
        "finetune": plan.trained_networks * plan.images_per_training * image,
        "export": _EXPORT_SECONDS,
        "check": _LAST_SECONDS,
        "report": _LAST_SECONDS,
    }
    if run.config.train.limited:
        seconds["finetune"] = max(0.0, remaining(run) - sum(seconds[stage] for stage in ("train", "split", "search")))
    shared = {stage: seconds[stage] / run.team.size for stage in _SHARED_STAGES}
    return Expected(seconds={stage: round(spent, 2) for stage, spent in (seconds | shared).items()})


def _search_seconds(run: Run, plan: "FewShotPlan", image: float) -> float:
    """Judging is a forward pass, a third of a training step; neighbours share beginnings, so this is an upper end."""
    evaluations = scheduled(run).evaluations
    judged = evaluations * plan.images_per_judgement if run.config.train.limited else plan.judged_images
    tuned = 0 if run.config.train.limited else plan.tuned_networks * plan.images_per_tuning
    return judged * image / 3 + (tuned + plan.relaxed_images) * image + evaluations * _PROPOSAL_SECONDS


def _steps_per_epoch(run: Run) -> int:
    images = len(run.dataset.train)
    return max(1, images // min(run.config.train.batch_size, images))
