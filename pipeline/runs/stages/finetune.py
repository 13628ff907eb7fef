"""Stage `finetune`: train the best candidates and the random baseline by one recipe, choose, and test once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from latency_tables.blocks import total_macs, total_params
from latency_tables.files import write_json
from pipeline.errors import InfeasibleBudget
from pipeline.ranking.verdict import random_baseline
from pipeline.runs.context import normalised_images, run_costs, run_dataset, run_space, run_table, training_data
from pipeline.runs.engine import Progress, part_of
from pipeline.runs.folder import RunFolder, read_json
from pipeline.runs.scoring import SearchScorer, load_child
from pipeline.runs.stages.train import CHECKPOINT_SECONDS
from pipeline.spaces.architecture import Architecture

BATCHNORM_IMAGES = 2000


@dataclass(frozen=True, slots=True)
class Job:
    """One network to train. `role` is `candidate` or `random`; `name` is its file's name."""

    role: Literal["candidate", "random"]
    name: str
    arch: Architecture


def work(run: RunFolder, progress: Progress) -> None:
    """Leave `winner/`: the weights of the winner, its accuracy on the test split, and the baseline beside it."""
    from pipeline.supernets.evaluate import evaluate
    from pipeline.supernets.files import load_network, save_network

    jobs = _jobs(run)
    for number, job in enumerate(jobs):
        _train(run, job, part_of(progress, number, len(jobs), f"fine-tune {len(jobs)} networks"))
    records = {job.name: read_json(_record_path(run, job)) for job in jobs}
    candidates = [job for job in jobs if job.role == "candidate"]
    winner = max(candidates, key=lambda job: records[job.name]["search_accuracy"])
    # The only look at the test split: after everything has been chosen.
    dataset = run_dataset(run)
    images, labels = normalised_images(dataset.test, dataset, None, 0)
    accuracies = {job.name: evaluate(load_network(_weights_path(run, job)), images, labels).accuracy for job in jobs}
    save_network(load_network(_weights_path(run, winner)), run.winner / "weights.safetensors")
    randoms = [accuracies[job.name] for job in jobs if job.role == "random"]
    document = _winner_document(run, winner.arch, accuracies[winner.name], randoms)
    proxies = SearchScorer(run, record=False).proxies([job.arch for job in jobs])
    document["trained"] = [
        {"role": job.role, "test_accuracy": accuracies[job.name], "scores": scores, **records[job.name]}
        for job, scores in zip(jobs, proxies, strict=True)
    ]
    write_json(run.winner / "winner.json", document)


def _jobs(run: RunFolder) -> list[Job]:
    """The best candidates, then random feasible architectures that are none of them."""
    from pipeline.search.candidates import keys
    from pipeline.search.pool import Problem
    from pipeline.spaces.codes import Codes

    config = run.config.finetune
    best = [Architecture.parse(entry["arch"]) for entry in read_json(run.candidates)["candidates"]]
    best = best[: config.candidates]
    codes = Codes(run_space(run))
    costs = run_costs(run)
    problem = Problem(codes, costs, costs.ensure_reachable())
    seen = frozenset(keys(codes.encode(best)))
    rows = problem.random(config.random_baseline, np.random.default_rng([run.config.seed, 7]), seen)
    if len(rows) < config.random_baseline:
        raise InfeasibleBudget(
            f"only {len(rows)} architectures inside the budget are left to compare the winner with;"
            f" [finetune] random_baseline asks for {config.random_baseline}: loosen the budget"
        )
    return [
        *(Job("candidate", f"candidate-{number}", arch) for number, arch in enumerate(best, 1)),
        *(Job("random", f"random-{number}", arch) for number, arch in enumerate(codes.decode(rows), 1)),
    ]


def _train(run: RunFolder, job: Job, progress: Progress) -> None:
    """Train one network from the weights it inherits; what has been trained before is left as it is."""
    from pipeline.supernets.evaluate import evaluate, refresh_batchnorm
    from pipeline.supernets.files import save_network
    from pipeline.supernets.settings import TrainSettings
    from pipeline.supernets.training import train

    if _record_path(run, job).exists():
        return
    config, dataset = run.config.finetune, run_dataset(run)
    network = load_child(run, job.arch).extract(job.arch)
    settings = TrainSettings(
        recipe="alone",
        epochs=config.epochs,
        batch_size=run.config.train.batch_size,
        lr=config.learning_rate,
        seed=run.config.seed,
        checkpoint_seconds=CHECKPOINT_SECONDS,
    )
    checkpoint = run.winner / "trained" / f"{job.name}.checkpoint.safetensors"
    train(network, training_data(run, dataset), settings, checkpoint, progress)
    refresh_batchnorm(network, normalised_images(dataset.train, dataset, BATCHNORM_IMAGES, 0)[0])
    images, labels = normalised_images(dataset.search, dataset, None, 0)
    save_network(network, _weights_path(run, job))
    score = evaluate(network, images, labels)
    write_json(
        _record_path(run, job),
        {"schema_version": 1, "arch": str(job.arch), "search_accuracy": score.accuracy, "epochs": config.epochs},
    )
    checkpoint.unlink(missing_ok=True)


def _winner_document(run: RunFolder, arch: Architecture, accuracy: float, randoms: list[float]) -> dict[str, Any]:
    blocks = run_space(run).blocks(arch)
    prediction = run_table(run).predict(blocks)
    return {
        "schema_version": 1,
        "arch": str(arch),
        "accuracy": accuracy,
        "macs": total_macs(blocks),
        "params": total_params(blocks),
        "predicted_ms": prediction.latency_ms,
        "predicted_interval_ms": [prediction.low_ms, prediction.high_ms],
        "random_baseline": random_baseline(accuracy, randoms, run.config.finetune.candidates),
    }


def _record_path(run: RunFolder, job: Job) -> Path:
    return run.winner / "trained" / f"{job.name}.json"


def _weights_path(run: RunFolder, job: Job) -> Path:
    return run.winner / "trained" / f"{job.name}.safetensors"
