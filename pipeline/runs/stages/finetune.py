"""Stage `finetune`: train the best candidates and what they are compared with by one recipe, choose, and test once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from latency_tables.blocks import total_macs, total_params
from pipeline.ranking.verdict import on_the_same_images, random_baseline
from pipeline.runs.comparison import FEWEST_RANDOM, too_few_others
from pipeline.runs.curves import curve_of_network, curve_path
from pipeline.runs.documents import (
    AnswersFile,
    Lengths,
    PublishedBaseline,
    RandomBaseline,
    TrainedEntry,
    TrainedNetwork,
    WinnerFile,
)
from pipeline.runs.engine import Progress, counted, part_of
from pipeline.runs.published import linear_baseline, published_network, scaled_base
from pipeline.runs.reuse import FURTHER, random_networks_of_the_base, take_trained
from pipeline.runs.run import Run, normalised, unchanged
from pipeline.runs.stages.train import CHECKPOINT_SECONDS
from pipeline.runs.team import SharedWork
from pipeline.runs.timed import lengths, pays_for
from pipeline.spaces.architecture import Architecture

if TYPE_CHECKING:
    from pipeline.supernets.evaluate import Answers
    from pipeline.supernets.network import Network

BATCHNORM_IMAGES = 2000
Role = Literal["candidate", "random", "published"]


@dataclass(frozen=True, slots=True)
class Job:
    """One network to train. `name` is its file's name."""

    role: Role
    name: str
    arch: Architecture


def work(run: Run, progress: Progress) -> None:
    """Leave `winner/`: the weights of the winner, its accuracy on the test split, and the baselines beside it.

    All networks are trained alike, and the winner is the best of them by the search split, wherever it came from.
    Where the run's minutes leave time, it and the published network are then trained on, alike again.
    """
    from pipeline.supernets.files import load_network, save_network

    jobs = _jobs(run)
    planned = lengths(run, len(jobs), kept=len({"winner", *(job.role for job in jobs if job.role == "published")}))
    run.team.do(NETWORKS, run, {"epochs": planned.epochs, "jobs": [_order(job) for job in jobs]}, progress, _hear(run))
    trained = {job.name: TrainedNetwork.load(_record_path(run, job.name)) for job in jobs}
    winner = max(jobs, key=lambda job: trained[job.name].search_accuracy)
    final = _trained_on(run, winner, jobs, planned, progress)
    # The only look at the test split: after everything has been chosen.
    answers = {name: _answers(run, name) for name in {*trained, *final.values()}}
    right = {name: found.classes == run.dataset.test.labels for name, found in answers.items()}
    save_network(load_network(_weights_path(run, final[winner.role])), run.folder.winner / "weights.safetensors")
    proxies = run.scorer.learn().proxies([job.arch for job in jobs])
    entries = [
        TrainedEntry(
            role=job.role,
            arch=str(job.arch),
            search_accuracy=trained[job.name].search_accuracy,
            test_accuracy=float(right[job.name].mean()),
            epochs=trained[job.name].epochs,
            scores=scores,
        )
        for job, scores in zip(jobs, proxies, strict=True)
    ]
    for job, entry in zip(jobs, entries, strict=True):
        run.events.tell("tested", "finetune", name=job.name, role=job.role, test_accuracy=entry.test_accuracy)
    ours, said = right[final[winner.role]], answers[final[winner.role]]
    probabilities = [round(float(share), 4) for share in said.probabilities]
    AnswersFile(classes=said.classes.tolist(), probabilities=probabilities).save(run.folder.answers)
    found = _winner_file(run, winner, right[winner.name], ours, entries, _published(run, jobs, ours, right, final))
    found.save(run.folder.winner_file)
    facts = found.model_dump(mode="json", include={"arch", "origin", "accuracy", "macs", "params", "predicted_ms"})
    run.events.tell("winner", "finetune", name=winner.name, **facts)


def _train_networks(run: Run, payload: dict[str, Any], progress: Progress) -> None:
    """Train those of the networks that fall to this process; each leaves its weights and its record."""
    jobs = [Job(order["role"], order["name"], Architecture.parse(order["arch"])) for order in payload["jobs"]]
    for number in run.team.numbers(len(jobs)):
        told = part_of(_in_images(run, progress, f"fine-tune {len(jobs)} networks"), number, len(jobs), "")
        job = jobs[number]
        trained = _train(run, job, payload["epochs"], told)
        facts = trained.model_dump(mode="json", exclude={"schema_version"})
        run.team.tell({"name": job.name, "role": job.role, **facts})


def _hear(run: Run) -> Callable[[dict[str, Any]], None]:
    """What tells of each network that some process has trained."""
    return lambda trained: run.events.tell("finalist", "finetune", **trained)


def _in_images(run: Run, progress: Progress, what: str) -> Progress:
    return counted(progress, min(run.config.train.batch_size, len(run.dataset.train)), what)


def _order(job: Job) -> dict[str, str]:
    return {"role": job.role, "name": job.name, "arch": str(job.arch)}


def _jobs(run: Run) -> list[Job]:
    """The best candidates, the published network, then random feasible architectures that are none of the first."""
    from pipeline.search.candidates import keys

    config = run.config.finetune
    if run.config.search.only is not None:
        return [Job("candidate", "candidate-1", Architecture.parse(run.candidates.candidates[0].arch))]
    best = [Architecture.parse(entry.arch) for entry in run.candidates.candidates[: config.candidates]]
    published = scaled_base(run)
    compared = [] if published is None else [Job("published", "published", published)]
    asked = config.random_baseline
    if not pays_for(run, len(best) + len(compared) + asked):
        asked = FEWEST_RANDOM if pays_for(run, len(best) + len(compared) + FEWEST_RANDOM) else 0
    kept = [arch for arch in random_networks_of_the_base(run) if arch not in best][:asked]
    seen = frozenset(keys(run.codes.encode([*best, *kept])))
    rng = np.random.default_rng([run.config.seed, 7])
    randoms = [*kept, *run.codes.decode(run.problem.random(asked - len(kept), rng, seen))]
    if too_few_others(len(randoms)):
        randoms = []
    return [
        *(Job("candidate", f"candidate-{number}", arch) for number, arch in enumerate(best, 1)),
        *compared,
        *(Job("random", f"random-{number}", arch) for number, arch in enumerate(randoms, 1)),
    ]


def _train(run: Run, job: Job, epochs: float, progress: Progress, before: "Network | None" = None) -> TrainedNetwork:
    """Train one network from the weights it inherits, or on from `before`; what has been trained is left as it is."""
    from pipeline.supernets.evaluate import evaluate, refresh_batchnorm
    from pipeline.supernets.files import save_network
    from pipeline.supernets.settings import TrainSettings
    from pipeline.supernets.training import train

    record = _record_path(run, job.name)
    if record.exists():
        return TrainedNetwork.load(record)
    if before is None and job.role != "published" and take_trained(run, job.arch, epochs, record):
        return TrainedNetwork.load(record)
    config, dataset = run.config.finetune, run.dataset
    network = before or _untrained(run, job)
    settings = TrainSettings(
        recipe="alone",
        epochs=epochs,
        **run.config.train.of_every_training,
        optimizer=config.optimizer,
        lr=config.learning_rate if before is None else config.learning_rate / 2,
        seed=run.config.seed,
        checkpoint_seconds=CHECKPOINT_SECONDS,
    )
    checkpoint = run.folder.winner / "trained" / f"{job.name}.checkpoint.safetensors"
    curve = curve_of_network(run, curve_path(record), dataset)
    train(network, run.training_data, settings, checkpoint, progress, curve)
    refresh_batchnorm(network, normalised(dataset.train, dataset, BATCHNORM_IMAGES, 0)[0])
    judges = unchanged(dataset.search, dataset)
    save_network(network, _weights_path(run, job.name))
    accuracy = evaluate(network, judges, judges.labels).accuracy
    trained = TrainedNetwork(arch=str(job.arch), search_accuracy=accuracy, epochs=epochs)
    trained.save(record)
    checkpoint.unlink(missing_ok=True)
    return trained


def _untrained(run: Run, job: Job) -> "Network":
    if job.role == "published":
        return published_network(run, job.arch)
    return run.children[run.partition.route(job.arch)].extract(job.arch)


def _trained_on(run: Run, winner: Job, jobs: list[Job], planned: Lengths, progress: Progress) -> dict[Role, str]:
    """The name under which the winner and the published network end, by role, after what time is left for them."""
    from pipeline.supernets.files import load_network

    kept = [winner, *(job for job in jobs if job.role == "published" and job is not winner)]
    final: dict[Role, str] = {job.role: job.name for job in kept}
    if not planned.further_epochs:
        return final
    for number, job in enumerate(kept):
        before = TrainedNetwork.load(_record_path(run, job.name))
        further = Job(job.role, job.name + FURTHER, job.arch)
        told = part_of(_in_images(run, progress, "train the best on"), number, len(kept), "")
        after = _train(run, further, planned.further_epochs, told, load_network(_weights_path(run, job.name)))
        if after.search_accuracy >= before.search_accuracy:
            final[job.role] = further.name
    return final


def _answers(run: Run, name: str) -> "Answers":
    """What a trained network says of the test images."""
    from pipeline.supernets.evaluate import answers
    from pipeline.supernets.files import load_network

    return answers(load_network(_weights_path(run, name)), unchanged(run.dataset.test, run.dataset))


def _published(
    run: Run, jobs: list[Job], ours: NDArray[np.bool_], right: dict[str, NDArray[np.bool_]], final: dict[Role, str]
) -> PublishedBaseline | None:
    job = next((job for job in jobs if job.role == "published"), None)
    if job is None:
        return None
    theirs = right[final["published"]]
    blocks, difference = run.space.blocks(job.arch), on_the_same_images(ours, theirs)
    return PublishedBaseline(
        arch=str(job.arch),
        accuracy=float(theirs.mean()),
        macs=total_macs(blocks),
        latency_ms=run.table.predict(blocks).latency_ms,
        improvement=difference.value,
        improvement_ci95=(difference.low, difference.high),
        verdict=difference.verdict,
    )


def _winner_file(
    run: Run,
    winner: Job,
    compared: NDArray[np.bool_],
    ours: NDArray[np.bool_],
    trained: list[TrainedEntry],
    published: PublishedBaseline | None,
) -> WinnerFile:
    """`compared`: what the winner got right after the training that random networks had too, `ours`: in the end."""
    blocks = run.space.blocks(winner.arch)
    prediction = run.table.predict(blocks)
    randoms = [entry.test_accuracy for entry in trained if entry.role == "random"]
    return WinnerFile(
        arch=str(winner.arch),
        origin=winner.role,
        accuracy=float(ours.mean()),
        macs=total_macs(blocks),
        params=total_params(blocks),
        predicted_ms=prediction.latency_ms,
        predicted_interval_ms=(prediction.low_ms, prediction.high_ms),
        random_baseline=RandomBaseline.model_validate(
            random_baseline(float(compared.mean()), randoms, len(trained))
            | {"compared_accuracy": float(compared.mean())}
        )
        if randoms
        else RandomBaseline.left_out(_alone(run)),
        published_baseline=published,
        linear_baseline=None if run.config.search.only is not None else linear_baseline(run),
        trained=trained,
    )


def _alone(run: Run) -> str:
    """Why the winner is compared with no random networks."""
    if run.config.search.only is not None:
        return "one network was asked for, and no other was trained"
    return "too few other networks are inside the budget, or too little time"


def _record_path(run: Run, name: str) -> Path:
    return run.folder.winner / "trained" / f"{name}.json"


def _weights_path(run: Run, name: str) -> Path:
    return run.folder.winner / "trained" / f"{name}.safetensors"


NETWORKS: Final = SharedWork("networks", _train_networks)
