"""`pocketnas search RUN --compare METHOD,METHOD,random --seeds N`: is the search worth its time on your images?"""

from typing import TYPE_CHECKING

from pipeline.cli.output import emit
from pipeline.cli.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from pipeline.ranking.scores import RegionScorer
    from pipeline.runs.run import Run
    from pipeline.search.compare import Comparison, Interval
    from pipeline.spaces.architecture import Architecture

RANDOM_NETWORKS = 16


def search_compare(run: "Run", methods: str, seeds: int, as_json: bool) -> None:
    """Compare search methods in a run whose sub-supernets are trained; the run's own search is left as it is.

    Half of the search images guide the searches, the other half judge what they found.
    """
    from pipeline.runs.engine import require_finished, stage_inputs
    from pipeline.runs.stages import STAGES
    from pipeline.search.compare import compare
    from pipeline.search.evaluators import Scored
    from pipeline.search.workers import Task

    # What was compared before training anew, or under another budget, has a folder of its own.
    inputs = stage_inputs(run.folder, require_finished(run.folder, STAGES, "search")).digest()
    guiding, judging = _halves(run)
    task = Task(run.codes, run.costs, Scored("inherited", guiding))
    names = [name.strip() for name in methods.split(",") if name.strip()]
    with run.folder.lock(), progress_bar() as progress:
        comparison = compare(
            task,
            Scored("inherited", judging),
            names,
            seeds,
            run.config.search.evaluations,
            RANDOM_NETWORKS,
            run.path / "compare" / inputs[:12],
            progress,
        )
    training_s = sum(seconds for stage, seconds in run.folder.stage_seconds() if stage in ("train", "split"))
    document = {**comparison.to_document(), "training_seconds": round(training_s, 1)}
    emit(document, as_json, lambda console: render(console, comparison, training_s))


def render(console: "Console", comparison: "Comparison", training_s: float) -> None:
    """The comparison as a table for people."""
    from rich.table import Table

    table = Table(
        "method",
        "over mean random",
        "relative",
        "over equal MACs",
        "over random search",
        "s a search",
        title=f"{len(comparison.random_scores)} random networks, {len(comparison.methods[0].scores)} seeds, "
        f"{comparison.methods[0].evaluations} evaluations each; scores: {comparison.fidelity} weights, other images",
    )
    for one in comparison.methods:
        table.add_row(
            one.method,
            _shown(one.over_mean_random),
            f"{one.relative_improvement_percent:+.2f} %",
            _shown(one.over_equal_macs),
            _shown(one.over_random_search),
            f"{one.seconds:.1f}",
        )
    console.print(table)
    console.print(f"each search besides {training_s:.0f} s of training the supernet and its regions, once for all")


def _shown(interval: "Interval | None") -> str:
    if interval is None:
        return "-"
    if interval.low is None or interval.high is None:
        return f"{interval.value:+.4f}: {interval.verdict} (one seed)"
    return f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]: {interval.verdict}"


def _halves(run: "Run") -> "tuple[RegionScorer, Callable[[Sequence[Architecture]], list[float]]]":
    """Two scorers of the same sub-supernets on disjoint halves of the search images; the second gives accuracies."""
    from dataclasses import replace

    from pipeline.fewshot.prefix import JudgingImages
    from pipeline.runs.images import normalised

    scorer = run.scorer.regions
    images, labels = normalised(run.dataset.search, run.dataset, None, 0)

    def accuracies(archs: "Sequence[Architecture]") -> list[float]:
        return [score.accuracy for score in judging.judged(archs)]

    batchnorm = scorer.judging.bn_images
    guiding = replace(scorer, judging=JudgingImages(batchnorm, images[::2], labels[::2]))
    judging = replace(scorer, judging=JudgingImages(batchnorm, images[1::2], labels[1::2]))
    return guiding, accuracies
