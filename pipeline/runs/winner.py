"""The winner of a run as other tools take it: a network, real images, and what it was made for."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latency_tables.files import sha256_of
from pipeline.runs.documents.base import RunError
from pipeline.runs.images import normalised
from pipeline.runs.quantised import calibration_images
from pipeline.runs.run import Run
from pipeline.spaces.architecture import Architecture

if TYPE_CHECKING:
    from exporters import Metadata, Resize
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
    resize: "Resize"
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    calibration_images: NDArray[np.float32]

    def metadata(self) -> "Metadata":
        """What its exported files say about it."""
        from exporters import Metadata

        return Metadata(self.labels, str(self.arch), self.budget, self.source_sha256, self.mean, self.std, self.resize)


def load_winner(run: Run, images: int = 1000) -> Winner:
    """The winner of `run`, with at most `images` test images and the training images that calibrate int8 files.

    Raises RunError where the run has no winner yet.
    """
    from exporters import Resize
    from pipeline.supernets.augment import resize
    from pipeline.supernets.files import load_network

    if not run.folder.winner_file.exists():
        raise RunError(f"{run.path} has no winner yet; 'pocketnas finetune {run.path}' chooses it")
    weights, found = run.folder.winner / "weights.safetensors", run.winner
    network, dataset = load_network(weights), run.dataset
    test, labels = normalised(dataset.test, dataset, images, run.config.seed)
    return Winner(
        network=network,
        arch=Architecture.parse(found.arch),
        labels=dataset.classes,
        budget=run.budget.to_document(),
        source_sha256=sha256_of(weights),
        predicted_ms=found.predicted_ms,
        mean=dataset.mean,
        std=dataset.std,
        resize=Resize(dataset.size_px, dataset.seen_px, dataset.depth),
        test_images=np.ascontiguousarray(resize(test, network.resolution).numpy()),
        test_labels=labels.numpy(),
        calibration_images=calibration_images(run, network.resolution),
    )
