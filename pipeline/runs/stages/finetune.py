"""Stage `finetune`: train the best candidates and what they are compared with by one recipe, choose, and test once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from latency_tables.blocks import total_macs, total_params
from pipeline.ranking.verdict import random_baseline
from pipeline.runs.comparison import too_few_others
from pipeline.runs.documents import RandomBaseline, TrainedEntry, TrainedNetwork, WinnerFile
from pipeline.runs.engine import Progress, part_of
from pipeline.runs.reuse import random_networks_of_the_base, take_trained
from pipeline.runs.run import Run, normalised
from pipeline.runs.stages.train import CHECKPOINT_SECONDS
from pipeline.spaces.architecture import Architecture

BATCHNORM_IMAGES = 2000


@dataclass(frozen=True, slots=True)
class Job:
    """One network to train. `role` is `candidate` or `random`; `name` is its file's name."""

    role: Literal["candidate", "random"]
    name: str
    arch: Architecture


def work(run: Run, progress: Progress) -> None:
    """Leave `winner/`: the weights of the winner, its accuracy on the test split, and the baseline beside it.

    The winner is the best of all networks that were trained, by the search split, wherever it came from.
    """
    from pipeline.supernets.evaluate import evaluate
    from pipeline.supernets.files import load_network, save_network

    jobs = _jobs(run)
    for number, job in enumerate(jobs):
        _train(run, job, part_of(progress, number, len(jobs), f"fine-tune {len(jobs)} networks"))
    trained = {job.name: TrainedNetwork.load(_record_path(run, job)) for job in jobs}
    winner = max(jobs, key=lambda job: trained[job.name].search_accuracy)
    # The only look at the test split: after everything has been chosen.
    images, labels = normalised(run.dataset.test, run.dataset, None, 0)
    accuracies = {job.name: evaluate(load_network(_weights_path(run, job)), images, labels).accuracy for job in jobs}
    save_network(load_network(_weights_path(run, winner)), run.folder.winner / "weights.safetensors")
    proxies = run.scorer.learn().proxies([job.arch for job in jobs])
    entries = [
        TrainedEntry(
            role=job.role,
            arch=str(job.arch),
            search_accuracy=trained[job.name].search_accuracy,
            test_accuracy=accuracies[job.name],
            epochs=trained[job.name].epochs,
            scores=scores,
        )
        for job, scores in zip(jobs, proxies, strict=True)
    ]
    _winner_file(run, winner, accuracies[winner.name], entries).save(run.folder.winner_file)


def _jobs(run: Run) -> list[Job]:
    """The best candidates, then random feasible architectures that are none of them."""
    from pipeline.search.candidates import keys

    config = run.config.finetune
    best = [Architecture.parse(entry.arch) for entry in run.candidates.candidates[: config.candidates]]
    kept = [arch for arch in random_networks_of_the_base(run) if arch not in best][: config.random_baseline]
    seen = frozenset(keys(run.codes.encode([*best, *kept])))
    rng = np.random.default_rng([run.config.seed, 7])
    randoms = [*kept, *run.codes.decode(run.problem.random(config.random_baseline - len(kept), rng, seen))]
    if too_few_others(len(randoms)):
        randoms = []
    return [
        *(Job("candidate", f"candidate-{number}", arch) for number, arch in enumerate(best, 1)),
        *(Job("random", f"random-{number}", arch) for number, arch in enumerate(randoms, 1)),
    ]


def _train(run: Run, job: Job, progress: Progress) -> None:
    """Train one network from the weights it inherits; what has been trained before is left as it is."""
    from pipeline.supernets.evaluate import evaluate, refresh_batchnorm
    from pipeline.supernets.files import save_network
    from pipeline.supernets.settings import TrainSettings
    from pipeline.supernets.training import train

    if _record_path(run, job).exists():
        return
    if take_trained(run, job.arch, _record_path(run, job), _weights_path(run, job)):
        return
    config, dataset = run.config.finetune, run.dataset
    network = run.children[run.partition.route(job.arch)].extract(job.arch)
    settings = TrainSettings(
        recipe="alone",
        epochs=config.epochs,
        **run.config.train.of_every_training,
        lr=config.learning_rate,
        seed=run.config.seed,
        checkpoint_seconds=CHECKPOINT_SECONDS,
    )
    checkpoint = run.folder.winner / "trained" / f"{job.name}.checkpoint.safetensors"
    train(network, run.training_data, settings, checkpoint, progress)
    refresh_batchnorm(network, normalised(dataset.train, dataset, BATCHNORM_IMAGES, 0)[0])
    images, labels = normalised(dataset.search, dataset, None, 0)
    save_network(network, _weights_path(run, job))
    accuracy = evaluate(network, images, labels).accuracy
    TrainedNetwork(arch=str(job.arch), search_accuracy=accuracy, epochs=config.epochs).save(_record_path(run, job))
    checkpoint.unlink(missing_ok=True)


def _winner_file(run: Run, winner: Job, accuracy: float, trained: list[TrainedEntry]) -> WinnerFile:
    blocks = run.space.blocks(winner.arch)
    prediction = run.table.predict(blocks)
    randoms = [entry.test_accuracy for entry in trained if entry.role == "random"]
    return WinnerFile(
        arch=str(winner.arch),
        origin=winner.role,
        accuracy=accuracy,
        macs=total_macs(blocks),
        params=total_params(blocks),
        predicted_ms=prediction.latency_ms,
        predicted_interval_ms=(prediction.low_ms, prediction.high_ms),
        random_baseline=RandomBaseline.model_validate(random_baseline(accuracy, randoms, len(trained)))
        if randoms
        else RandomBaseline.left_out("too few other networks are inside the budget"),
        trained=trained,
    )


def _record_path(run: Run, job: Job) -> Path:
    return run.folder.winner / "trained" / f"{job.name}.json"


def _weights_path(run: Run, job: Job) -> Path:
    return run.folder.winner / "trained" / f"{job.name}.safetensors"
