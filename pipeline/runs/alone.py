"""One network of a run trained alone: its weights, and how it answers on the search split in the device's precision."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pipeline.data.dataset import Images
from pipeline.progress import Progress
from pipeline.runs.curves import curve_of_network, curve_path
from pipeline.runs.documents.finetune import TrainedNetwork
from pipeline.runs.engine import CHECKPOINT_SECONDS
from pipeline.runs.images import normalised, some, unchanged
from pipeline.runs.published import published_network
from pipeline.runs.quantised import AWARE_LR, CALIBRATION_IMAGES, answers_in_int8
from pipeline.runs.reuse import take_trained
from pipeline.runs.run import Run
from pipeline.runs.timed import clock
from pipeline.spaces.architecture import Architecture

if TYPE_CHECKING:
    from pipeline.supernets.aware import QuantisationAware
    from pipeline.supernets.curve import Curve
    from pipeline.supernets.evaluate import Answers
    from pipeline.supernets.network import Network
    from pipeline.supernets.settings import TrainSettings

BATCHNORM_IMAGES: Final = 2000
_FURTHER_LR: Final = 0.5  # of the learning rate, for what goes on from trained weights
Role = Literal["candidate", "random", "published"]


@dataclass(frozen=True, slots=True)
class Job:
    """One network to train. `name` is its file's name.

    `before` names the network that it goes on from, instead of from what it inherits; `aware` simulates quantisation.
    """

    role: Role
    name: str
    arch: Architecture
    before: str | None = None
    aware: bool = False


def train_alone(run: Run, job: Job, epochs: float, progress: Progress) -> TrainedNetwork:
    """Train one network, and leave its weights and its record; what has been trained is left as it is."""
    from pipeline.supernets.evaluate import evaluate
    from pipeline.supernets.files import save_network

    record = record_path(run, job.name)
    inherits = job.before is None and job.role != "published"
    if record.exists() or (inherits and take_trained(run, job.arch, epochs, record)):
        return _judged_in_int8(run, job.name, TrainedNetwork.load(record))
    now = clock(run)
    began = now()
    checkpoint = run.folder.winner / "trained" / f"{job.name}.checkpoint.safetensors"
    curve = curve_of_network(run, curve_path(record), run.dataset)
    network = trained_network(run, job, epochs, checkpoint, progress, curve)
    judges = unchanged(run.dataset.search, run.dataset)
    accuracy = evaluate(network, judges, judges.labels).accuracy
    save_network(network, weights_path(run, job.name))
    trained = TrainedNetwork(
        arch=str(job.arch), search_accuracy=accuracy, epochs=epochs, aware=job.aware, seconds=now() - began
    )
    trained.save(record)
    checkpoint.unlink(missing_ok=True)
    return _judged_in_int8(run, job.name, trained)


def trained_network(
    run: Run, job: Job, epochs: float, checkpoint: Path, progress: Progress, curve: "Curve | None" = None
) -> "Network":
    """The network of `job` trained by the recipe that all networks of the run have, its BatchNorm set anew.

    What was killed goes on from `checkpoint`, which is left there.
    """
    from pipeline.supernets.evaluate import refresh_batchnorm
    from pipeline.supernets.training import train

    dataset, network = run.dataset, _network_before(run, job)
    aware = _simulated(run, network) if job.aware else None
    settings = _settings(run, job, epochs)
    if aware is None:
        train(network, run.training_data, settings, checkpoint, progress, curve)
    else:
        train(aware, run.training_data, settings, checkpoint, progress)
        aware.write_back(network)
    refresh_batchnorm(network, some(dataset.train, dataset, BATCHNORM_IMAGES, 0)[0])
    return network


def answers_of(run: Run, name: str, images: Images, int8: bool) -> "Answers":
    """What a trained network, or its int8 file, says of the images of one split."""
    from pipeline.supernets.evaluate import answers
    from pipeline.supernets.files import load_network

    network = load_network(weights_path(run, name))
    if int8:
        return answers_in_int8(run, network, images, int8_path(run, name))
    return answers(network, unchanged(images, run.dataset))


def record_path(run: Run, name: str) -> Path:
    """Where a trained network's record is."""
    return run.folder.winner / "trained" / f"{name}.json"


def weights_path(run: Run, name: str) -> Path:
    """Where its weights are."""
    return run.folder.winner / "trained" / f"{name}.safetensors"


def int8_path(run: Run, name: str) -> Path:
    """Where its int8 file is while it is judged."""
    return run.folder.winner / "trained" / f"{name}.int8.onnx"


def _judged_in_int8(run: Run, name: str, trained: TrainedNetwork) -> TrainedNetwork:
    """With what the int8 file answers on the search split, where the device computes so."""
    if run.precision != "int8" or trained.int8_accuracy is not None:
        return trained
    images = run.dataset.search
    accuracy = float((answers_of(run, name, images, int8=True).classes == images.labels).mean())
    judged = trained.model_copy(update={"int8_accuracy": accuracy})
    judged.save(record_path(run, name))
    return judged


def _settings(run: Run, job: Job, epochs: float) -> "TrainSettings":
    from pipeline.supernets.settings import TrainSettings

    config = run.config.finetune
    common = run.config.train.of_every_training | ({"precision": "fp32"} if job.aware else {})
    share = AWARE_LR if job.aware else 1.0 if job.before is None else _FURTHER_LR
    return TrainSettings(
        recipe="alone",
        epochs=epochs,
        **common,
        optimizer=config.optimizer,
        lr=config.learning_rate * share,
        seed=run.config.seed,
        checkpoint_seconds=CHECKPOINT_SECONDS,
    )


def _network_before(run: Run, job: Job) -> "Network":
    from pipeline.supernets.files import load_network

    if job.before is not None:
        return run.compute.placed(load_network(weights_path(run, job.before)))
    if job.role == "published":
        return published_network(run, job.arch)
    return run.children[run.partition.route(job.arch)].extract(job.arch)


def _simulated(run: Run, network: "Network") -> "QuantisationAware":
    from pipeline.supernets.augment import resize
    from pipeline.supernets.aware import QuantisationAware

    images, _ = normalised(run.dataset.train, run.dataset, CALIBRATION_IMAGES, run.config.seed)
    return QuantisationAware(network, resize(images, network.resolution))
