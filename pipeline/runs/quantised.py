"""Networks of a run as their int8 files answer: what decides where the device computes in int8."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from latency_tables.files import write_atomic
from pipeline.data.dataset import Images
from pipeline.errors import PipelineError
from pipeline.runs.config import Config
from pipeline.runs.documents.finetune import TrainedNetwork
from pipeline.runs.images import normalised, unchanged
from pipeline.runs.run import Run

if TYPE_CHECKING:
    from pipeline.supernets.evaluate import Answers
    from pipeline.supernets.network import Network

CALIBRATION_IMAGES: Final = 256
_AT_ONCE: Final = 50  # images
MOST_LOSS: Final = 0.005  # of the share of right answers; more than that is worth training on
AWARE_EPOCHS: Final = 0.5  # of a fine-tune's, with quantisation simulated, which takes two to three times as long
AWARE_LR: Final = 0.25  # of a fine-tune's learning rate
AWARE_COST: Final = 3 * AWARE_EPOCHS  # of a fine-tune's time


def deciding(run: Run, trained: TrainedNetwork) -> float:
    """The share of the search split that a network gets right as it will be deployed."""
    if run.precision == "int8" and trained.int8_accuracy is not None:
        return trained.int8_accuracy
    return trained.search_accuracy


def simulates(run: Run) -> bool:
    """Whether finalists may be trained with quantisation simulated."""
    from pipeline.supernets.aware import is_available

    return run.precision == "int8" and run.config.finetune.quantisation_aware is not False and is_available()


def loses_much(run: Run, trained: TrainedNetwork) -> bool:
    """Whether a network is to be trained so: all are, or those that quantisation costs more than half a point."""
    asked = run.config.finetune.quantisation_aware
    return asked is True or trained.search_accuracy - deciding(run, trained) > MOST_LOSS + 1e-9


def why_simulated(run: Run, trained: TrainedNetwork, aware_int8: float | None) -> str:
    """In words: what int8 cost a network on the search split, and what came of that."""
    from pipeline.supernets.aware import MISSING, is_available

    loss = 100 * (trained.search_accuracy - deciding(run, trained))
    told = f"int8 cost {loss:.2f} points on the search split"
    if aware_int8 is not None:
        return f"{told}; {100 * (trained.search_accuracy - aware_int8):.2f} after training with quantisation simulated"
    if run.config.finetune.quantisation_aware is False:
        return f"{told}; [finetune] quantisation_aware = false"
    if not loses_much(run, trained):
        return f"{told}, which is no reason to train with quantisation simulated"
    return f"{told}; {MISSING}" if not is_available() else told


def require_simulation(config: Config) -> None:
    """PipelineError where a run asks for training with quantisation simulated, and torchao is not installed."""
    from pipeline.supernets.aware import MISSING, is_available

    if config.finetune.quantisation_aware is True and not is_available():
        raise PipelineError(f"[finetune] quantisation_aware = true: {MISSING}")


def calibration_images(run: Run, resolution: int) -> NDArray[np.float32]:
    """The training images whose ranges int8 files are made with, always the same ones: normalised (n, 3, resolution,
    resolution)."""
    from pipeline.supernets.augment import resize

    chosen, _ = normalised(run.dataset.train, run.dataset, CALIBRATION_IMAGES, run.config.seed)
    return np.ascontiguousarray(resize(chosen, resolution).numpy())


def answers_in_int8(run: Run, network: "Network", images: Images, file: Path) -> "Answers":
    """What the network's int8 file says of the images of one split.

    The file is kept as `file`, and is taken from there where it has been made.
    """
    import torch

    from exporters.quantised import int8_model, open_model
    from pipeline.supernets.augment import resize
    from pipeline.supernets.evaluate import Answers

    if not file.exists():
        write_atomic(file, int8_model(network, calibration_images(run, network.resolution), file.parent))
    model = open_model(file)
    outputs = [
        model.run(np.ascontiguousarray(resize(batch, network.resolution).numpy()))
        for batch, _ in unchanged(images, run.dataset).batches(_AT_ONCE)
    ]
    probabilities, classes = torch.from_numpy(np.concatenate(outputs)).softmax(1).max(1)
    return Answers(classes.numpy(), probabilities.numpy())
