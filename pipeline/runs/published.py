"""The baseline that matters: the published network scaled to the budget, trained as a person would do it."""

from typing import TYPE_CHECKING, Final

from pipeline.runs.documents.finetune import LinearBaseline
from pipeline.runs.images import some, unchanged
from pipeline.runs.run import Run
from pipeline.spaces.architecture import Architecture, StageChoice
from pipeline.spaces.space import SearchSpace

if TYPE_CHECKING:
    from pipeline.supernets.network import Network

LINEAR_IMAGES: Final = 2000  # which take seconds and half a gigabyte


def scaled_base(run: Run) -> Architecture | None:
    """The network whose weights the run started from, at the largest resolution that fits, else with fewer layers.

    None where the run started from random weights, where that network lies outside the space, or where nothing of it
    fits into the budget.
    """
    start = run.start
    if start is None or start.base is None:
        return None
    base = Architecture.parse(start.base)
    sizes = [Architecture(px, base.stages) for px in reversed(run.space.resolutions)]
    return next((arch for arch in [*sizes, *_shallower(sizes[-1], run.space)] if _fits(run, arch)), None)


def published_network(run: Run, arch: Architecture) -> "Network":
    """That network with the published weights and a new classifier, before any training on the run's images."""
    from pipeline.supernets.supernet import Supernet
    from pipeline.weights.sources import open_weights
    from pipeline.weights.start import start_supernet

    supernet = Supernet(run.space, seed=run.config.seed)
    start_supernet(supernet, open_weights(run.config.train.start), run.dataset.classes)
    return supernet.extract(arch)


def linear_baseline(run: Run) -> LinearBaseline | None:
    """What a linear classifier reaches on that network's features, on the test split; None where there is none.

    It learns from at most `LINEAR_IMAGES` training images.
    """
    from pipeline.weights.linear import linear_accuracy

    arch = scaled_base(run)
    if arch is None:
        return None
    train = some(run.dataset.train, run.dataset, LINEAR_IMAGES, 0)
    test = unchanged(run.dataset.test, run.dataset)
    accuracy = linear_accuracy(published_network(run, arch).eval(), train, (test, test.labels))
    return LinearBaseline(arch=str(arch), accuracy=accuracy, images=len(train[1]))


def _fits(run: Run, arch: Architecture) -> bool:
    return bool(run.costs.feasible(run.codes.encode([arch])).all())


def _shallower(arch: Architecture, space: SearchSpace) -> list[Architecture]:
    """`arch` with one layer fewer each time, the last layers of the deepest stages first."""
    found: list[Architecture] = []
    depths = [len(choice.ops) for choice in arch.stages]
    while True:
        open_stages = [i for i, stage in enumerate(space.stages) if depths[i] - 1 in stage.depths]
        if not open_stages:
            return found
        depths[max(open_stages, key=lambda i: (depths[i], i))] -= 1
        stages = (
            StageChoice(choice.width, choice.ops[:depth]) for choice, depth in zip(arch.stages, depths, strict=True)
        )
        found.append(Architecture(arch.resolution, tuple(stages)))
