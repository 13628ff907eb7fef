"""Stage `finetune`: train the best candidates and what they are compared with by one recipe, choose, and test once."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from latency_tables.blocks import total_macs, total_params
from pipeline.progress import Progress
from pipeline.ranking.verdict import on_the_same_images, random_baseline
from pipeline.runs.alone import Job, answers_of, record_path, train_alone, weights_path
from pipeline.runs.comparison import too_few_others
from pipeline.runs.documents.finetune import (
    AnswersFile,
    PublishedBaseline,
    RandomBaseline,
    SearchQuantisation,
    TrainedEntry,
    TrainedNetwork,
    WinnerFile,
    WinnerQuantisation,
)
from pipeline.runs.engine import counted, part_of
from pipeline.runs.published import linear_baseline, scaled_base
from pipeline.runs.quantised import AWARE_COST, AWARE_EPOCHS, deciding, loses_much, simulates, why_simulated
from pipeline.runs.reuse import AWARE, FURTHER, random_networks_of_the_base
from pipeline.runs.run import Run
from pipeline.runs.team import SharedWork
from pipeline.runs.timealone import TimeAlone
from pipeline.spaces.architecture import Architecture


def work(run: Run, progress: Progress) -> None:
    """Leave `winner/`: the weights of the winner, its accuracy on the test split, and the baselines beside it.

    All networks are trained alike, and the winner is the best of them by the search split, wherever it came from;
    where the device computes in int8, by what the int8 files answer. Finalists that quantisation costs too much are
    trained on with it simulated. Where the run's minutes leave time, the winner and the published network are then
    trained on, alike again.
    """
    from pipeline.supernets.files import load_network, save_network

    time = TimeAlone(run)
    jobs, trained, epochs = _first_round(run, time, progress)
    compared, shown = [job for job in jobs if job.role == "published"], dict(trained)
    ends = _after_simulation(run, jobs, trained, epochs, progress)
    winner = max(jobs, key=lambda job: deciding(run, trained[ends[job.name]]))
    kept = [winner, *(job for job in compared if job is not winner)]
    _trained_on(run, kept, ends, time.further_epochs([job.arch for job in kept], shown), progress)
    # The only look at the test split: after everything has been chosen.
    int8, test, wanted = run.precision == "int8", run.dataset.test, {*trained, ends[winner.name]}
    wanted |= {ends[job.name] for job in compared}
    answers = {name: answers_of(run, name, test, int8) for name in wanted}
    right = {name: found.classes == test.labels for name, found in answers.items()}
    end = ends[winner.name]
    save_network(load_network(weights_path(run, end)), run.folder.winner / "weights.safetensors")
    proxies = run.scorer.learn().proxies([job.arch for job in jobs])
    entries = [
        TrainedEntry(
            role=job.role,
            arch=str(job.arch),
            search_accuracy=deciding(run, trained[job.name]),
            test_accuracy=float(right[job.name].mean()),
            epochs=trained[job.name].epochs,
            scores=scores,
            quantisation=_quantisation(run, job, trained),
        )
        for job, scores in zip(jobs, proxies, strict=True)
    ]
    for job, entry in zip(jobs, entries, strict=True):
        run.events.tell("tested", "finetune", name=job.name, role=job.role, test_accuracy=entry.test_accuracy)
    probabilities = [round(float(share), 4) for share in answers[end].probabilities]
    AnswersFile(classes=answers[end].classes.tolist(), probabilities=probabilities).save(run.folder.answers)
    published = _published(run, jobs, right[end], {job.name: right[ends[job.name]] for job in compared})
    quantisation = _winner_quantisation(run, winner, end, trained)
    found = _winner_file(run, winner, right[winner.name], right[end], entries, published, quantisation)
    found.save(run.folder.winner_file)
    told = {"arch", "origin", "accuracy", "precision", "macs", "params", "predicted_ms"}
    run.events.tell("winner", "finetune", name=winner.name, **found.model_dump(mode="json", include=told))
    for file in (run.folder.winner / "trained").glob("*.int8.onnx"):
        file.unlink()


def _first_round(run: Run, time: TimeAlone, progress: Progress) -> tuple[list[Job], dict[str, TrainedNetwork], float]:
    """Train the candidates and the published network, then the random ones that there is time for; all alike.

    Also returns for how many epochs.
    """
    config, alone = run.config.finetune, run.config.search.only is not None
    published = None if alone else scaled_base(run)
    compared = [] if published is None else [Job("published", "published", published)]
    best = run.candidates.candidates[: 1 if alone else config.candidates]
    aware = len(best) + len(compared) if simulates(run) else 0
    archs, others = [Architecture.parse(entry.arch) for entry in best], [job.arch for job in compared]
    plan = time.first_round(archs, others, 0 if alone else config.random_baseline, aware)
    archs = archs[: plan.candidates]
    jobs = [*(Job("candidate", f"candidate-{number}", arch) for number, arch in enumerate(archs, 1)), *compared]
    randoms = _random_jobs(run, archs, plan.randoms)
    total, at_once = len(jobs) + len(randoms), [] if run.config.train.limited else randoms
    trained = _trained(run, [*jobs, *at_once], plan.epochs, 0, total, progress)
    randoms = randoms[: time.affordable([job.arch for job in randoms], trained, aware)]
    trained |= _trained(
        run, [job for job in randoms if job.name not in trained], plan.epochs, len(jobs), total, progress
    )
    return [*jobs, *randoms], trained, plan.epochs


def _trained(
    run: Run, jobs: list[Job], epochs: float, before: int, total: int, progress: Progress
) -> dict[str, TrainedNetwork]:
    """Train `jobs`, which `before` others preceded, by all processes of the run; what became of each, by its name."""
    if jobs:
        # The longest first, so that several processes end at about the same time.
        order = sorted(jobs, key=lambda job: -total_macs(run.space.blocks(job.arch)))
        payload = {"epochs": epochs, "jobs": [_order(job) for job in order], "before": before, "total": total}
        run.team.do(NETWORKS, run, payload, progress, _hear(run))
    return {job.name: TrainedNetwork.load(record_path(run, job.name)) for job in jobs}


def _train_networks(run: Run, payload: dict[str, Any], progress: Progress) -> None:
    """Train those of the networks that fall to this process; each leaves its weights and its record."""
    jobs = [Job(**{**order, "arch": Architecture.parse(order["arch"])}) for order in payload["jobs"]]
    before, total = payload["before"], payload["total"]
    for number in run.team.numbers(len(jobs)):
        told = part_of(_in_images(run, progress, f"fine-tune {total} networks"), before + number, total, "")
        job = jobs[number]
        trained = train_alone(run, job, payload["epochs"], told)
        facts = trained.model_dump(mode="json", exclude={"schema_version"})
        run.team.tell({"name": job.name, "role": job.role, **facts})


def _hear(run: Run) -> Callable[[dict[str, Any]], None]:
    """What tells of each network that some process has trained."""
    return lambda trained: run.events.tell("finalist", "finetune", **trained)


def _in_images(run: Run, progress: Progress, what: str) -> Progress:
    return counted(progress, min(run.config.train.batch_size, len(run.dataset.train)), what)


def _order(job: Job) -> dict[str, Any]:
    return {**asdict(job), "arch": str(job.arch)}


def _random_jobs(run: Run, best: list[Architecture], asked: int) -> list[Job]:
    """Random feasible architectures that are none of the `best`; none where there are too few to compare with."""
    from pipeline.search.candidates import keys

    kept = [arch for arch in random_networks_of_the_base(run) if arch not in best][:asked]
    seen = frozenset(keys(run.codes.encode([*best, *kept])))
    rng = np.random.default_rng([run.config.seed, 7])
    randoms = [*kept, *run.codes.decode(run.feasible.random(asked - len(kept), rng, seen))]
    if too_few_others(len(randoms)):
        return []
    return [Job("random", f"random-{number}", arch) for number, arch in enumerate(randoms, 1)]


def _finalists(jobs: list[Job], best: Job) -> list[Job]:
    """What may be trained with quantisation simulated: candidates, the published network, and the best of all."""
    return [job for job in jobs if job.role != "random" or job is best]


def _after_simulation(
    run: Run, jobs: list[Job], trained: dict[str, TrainedNetwork], epochs: float, progress: Progress
) -> dict[str, str]:
    """The name under which each job ends, once finalists that quantisation costs too much have been trained on."""
    ends = {job.name: job.name for job in jobs}
    if not simulates(run):
        return ends
    best = max(jobs, key=lambda job: deciding(run, trained[job.name]))
    losing = [job for job in _finalists(jobs, best) if loses_much(run, trained[job.name])]
    aware = [Job(job.role, job.name + AWARE, job.arch, before=job.name, aware=True) for job in losing]
    if aware:
        trained |= _trained(run, aware, AWARE_EPOCHS * epochs, 0, len(aware), progress)
    for before, after in zip(losing, aware, strict=True):
        if deciding(run, trained[after.name]) >= deciding(run, trained[before.name]):
            ends[before.name] = after.name
    return ends


def _trained_on(run: Run, kept: list[Job], ends: dict[str, str], further_epochs: float, progress: Progress) -> None:
    """Enter under `ends` what the kept networks end as after what time is left for them."""
    if not further_epochs:
        return
    for number, job in enumerate(kept):
        name = ends[job.name]
        before = TrainedNetwork.load(record_path(run, name))
        further = Job(job.role, job.name + FURTHER, job.arch, before=name, aware=before.aware)
        told = part_of(_in_images(run, progress, "train the best on"), number, len(kept), "")
        epochs = further_epochs / (AWARE_COST / AWARE_EPOCHS if before.aware else 1)
        after = train_alone(run, further, epochs, told)
        if deciding(run, after) >= deciding(run, before):
            ends[job.name] = further.name


def _quantisation(run: Run, job: Job, trained: dict[str, TrainedNetwork]) -> SearchQuantisation | None:
    before, after = trained[job.name], trained.get(job.name + AWARE)
    if before.int8_accuracy is None or run.precision != "int8":
        return None
    return SearchQuantisation(
        fp32=before.search_accuracy,
        int8=before.int8_accuracy,
        aware_int8=None if after is None else after.int8_accuracy,
    )


def _winner_quantisation(
    run: Run, winner: Job, end: str, trained: dict[str, TrainedNetwork]
) -> WinnerQuantisation | None:
    found = _quantisation(run, winner, trained)
    if found is None:
        return None
    test = run.dataset.test
    return WinnerQuantisation(
        fp32_accuracy=float((answers_of(run, end, test, int8=False).classes == test.labels).mean()),
        aware=TrainedNetwork.load(record_path(run, end)).aware,
        reason=why_simulated(run, trained[winner.name], found.aware_int8),
        search=found,
    )


def _published(
    run: Run, jobs: list[Job], ours: NDArray[np.bool_], right: dict[str, NDArray[np.bool_]]
) -> PublishedBaseline | None:
    job = next((job for job in jobs if job.role == "published"), None)
    if job is None:
        return None
    theirs = right[job.name]
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
    quantisation: WinnerQuantisation | None,
) -> WinnerFile:
    """`compared`: what the winner got right after the training that random networks had too, `ours`: in the end."""
    blocks = run.space.blocks(winner.arch)
    prediction = run.table.predict(blocks)
    randoms = [entry.test_accuracy for entry in trained if entry.role == "random"]
    return WinnerFile(
        arch=str(winner.arch),
        origin=winner.role,
        accuracy=float(ours.mean()),
        precision=run.precision,
        quantisation=quantisation,
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


NETWORKS: Final = SharedWork("networks", _train_networks)
