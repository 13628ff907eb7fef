"""What the training of a run will cost, told before any of it is spent."""

import random
from statistics import fmean
from typing import TYPE_CHECKING

from pipeline.runs.run import JUDGING_BATCHNORM_IMAGES, Run
from pipeline.runs.scoring import JUDGED_FOR_RANKER
from pipeline.spaces.space import SearchSpace

if TYPE_CHECKING:
    from pipeline.fewshot.plan import FewShotPlan
    from pipeline.supernets.recipes import Pass


def run_plan(run: Run) -> "FewShotPlan":
    """Images that will pass through networks, from the configuration and the prepared data."""
    from pipeline.fewshot.criteria import gradient_passes
    from pipeline.fewshot.decisions import open_decisions
    from pipeline.fewshot.plan import FewShotPlan
    from pipeline.relax.settings import relaxing_passes

    config, space = run.config, run.space
    images = len(run.dataset.train)
    passes = passes_per_step(config.train.recipe, space)
    batch = config.train.batch_size
    compares = config.split.criterion == "gradient" and config.split.regions > 1
    decisions = open_decisions(space, config.split.decisions)
    by_gradient = gradient_passes(space, config.split.gradient_batches, decisions) * batch if compares else 0
    ranker, judge_by = config.search.rank_by == "ranker", config.search.judge_by
    tuned = {
        "inherited": ranker * config.search.labels + config.search.private,
        "private": config.search.evaluations,
        "scratch": 0,
    }
    return FewShotPlan(
        root_images=round(config.train.epochs * images * passes),
        gradient_images=by_gradient,
        child_images=round(config.split.epochs * images * passes),
        regions=config.split.regions,
        judged_networks=(config.search.evaluations + ranker * JUDGED_FOR_RANKER) * (judge_by == "inherited"),
        images_per_judgement=config.search.images + min(config.search.images, JUDGING_BATCHNORM_IMAGES),
        tuned_networks=tuned[judge_by],
        images_per_tuning=config.search.private_batches * batch,
        trained_networks=config.finetune.candidates
        + config.finetune.random_baseline
        + config.search.evaluations * (judge_by == "scratch"),
        images_per_training=config.finetune.epochs * images,
        relaxed_images=round(config.search.relax_epochs * images * relaxing_passes(config.search.method, space)),
    )


def passes_per_step(recipe: str, space: SearchSpace) -> float:
    """Networks that see each batch, averaged over the recipe's phases."""
    from pipeline.supernets.recipes import RECIPES

    phases = RECIPES[recipe](space)
    share = sum(phase.share for phase in phases)
    return sum(phase.share * _networks(phase.plan(random.Random(0), 0.5)) for phase in phases) / share


def _networks(passes: "list[Pass]") -> float:
    """Ops side by side take as long as that many networks."""
    return sum(fmean(map(len, part.paths)) if part.paths else 1 for part in passes)
