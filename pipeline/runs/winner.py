"""The winner of a run as other tools take it: a network, real images, and what it was made for."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.runs.context import normalised_images, run_budget, run_dataset
from pipeline.runs.folder import RunError, file_hash, open_run, read_json
from pipeline.spaces.architecture import Architecture

if TYPE_CHECKING:
    from pipeline.supernets.network import Network


@dataclass(frozen=True, slots=True, eq=False)
class Winner:
    """A trained network in evaluation mode, and normalised float32 NCHW images at its resolution."""

    network: "Network"
    arch: Architecture
    labels: tuple[str, ...]
    budget: dict[str, Any]
    source_sha256: str
    predicted_ms: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    calibration_images: NDArray[np.float32]


def load_winner(run_dir: Path, images: int = 1000, calibration: int = 256) -> Winner:
    """The winner of the run at `run_dir`, with at most `images` test and `calibration` training images.

    Raises RunError where the run has no winner yet.
    """
    from pipeline.supernets.augment import resize
    from pipeline.supernets.files import load_network

    run = open_run(run_dir)
    weights = run.winner / "weights.safetensors"
    if not (run.winner / "winner.json").exists():
        raise RunError(f"{run_dir} has no winner yet; 'pocketnas finetune {run_dir}' chooses it")
    document = read_json(run.winner / "winner.json")
    network, dataset = load_network(weights), run_dataset(run)
    test, labels = normalised_images(dataset.test, dataset, images, run.config.seed)
    training, _ = normalised_images(dataset.train, dataset, calibration, run.config.seed)
    return Winner(
        network=network,
        arch=Architecture.parse(document["arch"]),
        labels=dataset.classes,
        budget=run_budget(run).to_document(),
        source_sha256=file_hash(weights),
        predicted_ms=document["predicted_ms"],
        mean=dataset.mean,
        std=dataset.std,
        test_images=np.ascontiguousarray(resize(test, network.resolution).numpy()),
        test_labels=labels.numpy(),
        calibration_images=np.ascontiguousarray(resize(training, network.resolution).numpy()),
    )
