"""How long a run in minutes trains its networks alone, and how many: planned, and planned anew from what they took."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from latency_tables.blocks import total_macs
from pipeline.runs.alone import BATCHNORM_IMAGES
from pipeline.runs.documents.finetune import Lengths, TrainedNetwork
from pipeline.runs.published import LINEAR_IMAGES
from pipeline.runs.quantised import AWARE_COST
from pipeline.runs.run import JUDGING_BATCHNORM_IMAGES, Run
from pipeline.runs.timed import clock, pace, remaining, rounded, scheduled
from pipeline.spaces.architecture import Architecture

_FIRST_ROUND: Final = 0.6  # of the time: all networks, before the best are trained on
_LEAST_EPOCHS: Final = 0.5  # of the networks that are compared; with less, fewer are
_LEAST_FURTHER: Final = 0.2  # epochs; less changes nothing
_FORWARD: Final = 1 / 3  # of what training on an image takes
_QUANTISING_SECONDS: Final = 6.0  # of quantising a network of phones' size and judging it
_LINEAR_SECONDS: Final = 2.0  # of fitting a classifier, beside the features it reads


class TimeAlone:
    """The time of stage `finetune`. Networks of one round train for as many epochs, since they are compared.

    What has been trained is known by its record, so that a stage that was killed goes on with the same plan; the plan
    is kept in `winner/lengths.json`. Without minutes everything is as configured.
    """

    def __init__(self, run: Run, now: Callable[[], float] | None = None) -> None:
        """`now` tells the time instead of the run's own clock."""
        self._run, self._file = run, run.folder.winner / "lengths.json"
        self._now = now or clock(run)
        self._began = self._now()

    def first_round(
        self, candidates: Sequence[Architecture], others: Sequence[Architecture], randoms: int, aware: int = 0
    ) -> Lengths:
        """Epochs of the first round, and how many of the candidates and of so many random networks it is for.

        `others` are trained in any case. `aware`: how many may be trained on with quantisation simulated. Where the
        time does not pay for all, first the random networks are left out, then all candidates but one.
        """
        config = self._run.config
        if not config.train.limited:
            as_configured = config.finetune.epochs
            return Lengths(epochs=as_configured, candidates=len(candidates), randoms=randoms, further_epochs=0.0)
        if not self._file.exists():
            for kept, drawn in ((len(candidates), randoms), (len(candidates), 0), (min(1, len(candidates)), 0)):
                images = [*map(self._planned_image, (*candidates[:kept], *others)), *[self._planned_image()] * drawn]
                epochs = self._epochs(images, aware)
                if epochs >= _LEAST_EPOCHS:
                    break
            Lengths(epochs=rounded(epochs), candidates=kept, randoms=drawn).save(self._file)
        return Lengths.load(self._file)

    def affordable(self, archs: Sequence[Architecture], trained: Mapping[str, TrainedNetwork], aware: int = 0) -> int:
        """How many of the random `archs`, all or none, the time that is left pays for, by what others took."""
        plan = Lengths.load(self._file) if self._file.exists() else None
        if plan is None or not archs:
            return len(archs)
        if plan.drawn is None:
            seconds = sum(self._rate(trained) * self._macs(arch) for arch in archs) * self._trained_images(plan.epochs)
            image = self._mean_seconds(trained)
            after = self._after(len(trained) + len(archs), image)
            after += aware * AWARE_COST * image * self._trained_images(plan.epochs)
            pays = seconds / self._run.team.size <= self._left() - after
            plan = plan.model_copy(update={"drawn": len(archs) if pays else 0})
            plan.save(self._file)
        return min(len(archs), plan.drawn or 0)

    def further_epochs(self, kept: Sequence[Architecture], trained: Mapping[str, TrainedNetwork]) -> float:
        """Epochs for which the `kept` are trained on in what is left; 0 where it is too little for any effect."""
        plan = Lengths.load(self._file) if self._file.exists() else None
        if plan is None:
            return 0.0
        if plan.further_epochs is None:
            after = self._after(len(trained) + len(kept), self._mean_seconds(trained))
            image = sum(self._rate(trained) * self._macs(arch) for arch in kept)
            images = (self._left() - after) / image - self._trained_images(0.0)
            epochs = images / len(self._run.dataset.train)
            plan = plan.model_copy(update={"further_epochs": rounded(epochs) if epochs > _LEAST_FURTHER else 0.0})
            plan.save(self._file)
        return plan.further_epochs or 0.0

    def _epochs(self, image_seconds: Sequence[float], aware: int) -> float:
        """Of networks that take so long for an image in the first round; may come out below 0."""
        networks, each = len(image_seconds), sum(image_seconds) / len(image_seconds) / self._run.team.size
        left = _FIRST_ROUND * (self._left() - self._after(networks, each))
        trainings = networks + AWARE_COST * aware
        return (left / (trainings * each) - self._trained_images(0.0)) / len(self._run.dataset.train)

    def _trained_images(self, epochs: float) -> float:
        """What training a network for so long takes with judging it, in images of training."""
        dataset = self._run.dataset
        judged = min(BATCHNORM_IMAGES, len(dataset.train)) + len(dataset.search)
        return epochs * len(dataset.train) + _FORWARD * judged

    def _after(self, networks: int, image_seconds: float) -> float:
        """Seconds of the stage once everything is trained: tests, scores beside them, the linear classifier."""
        dataset, most = self._run.dataset, self._run.config.search.images
        scored = min(most, JUDGING_BATCHNORM_IMAGES, len(dataset.train)) + min(most, len(dataset.search))
        linear = min(LINEAR_IMAGES, len(dataset.train)) + len(dataset.test)
        images = networks * (len(dataset.test) + scored) + linear
        quantising = _QUANTISING_SECONDS * networks if self._run.precision == "int8" else 0.0
        return _LINEAR_SECONDS + quantising + _FORWARD * images * image_seconds

    def _left(self) -> float:
        """Seconds for this stage that are not spent: those of a call before this one are known by its records."""
        records = (self._run.folder.winner / "trained").glob("*.json")
        by_records = sum(TrainedNetwork.load(record).seconds for record in records) / self._run.team.size
        return remaining(self._run, before="finetune") - max(by_records, self._now() - self._began)

    def _macs(self, arch: Architecture) -> int:
        return total_macs(self._run.space.blocks(arch))

    def _rate(self, trained: Mapping[str, TrainedNetwork]) -> float:
        """Seconds for each image and each multiply-accumulate of a network, from those that were trained."""
        known = [(Architecture.parse(one.arch), one) for one in trained.values() if one.seconds > 0]
        work = sum(self._macs(arch) * self._trained_images(one.epochs) for arch, one in known)
        seconds = sum(one.seconds for _, one in known)
        return seconds / work if work else self._planned_image() / max(map(self._macs, self._archs(trained)))

    def _mean_seconds(self, trained: Mapping[str, TrainedNetwork]) -> float:
        """For each image of training a network as those that were trained."""
        archs = self._archs(trained)
        return self._rate(trained) * sum(map(self._macs, archs)) / len(archs)

    def _planned_image(self, arch: Architecture | None = None) -> float:
        """Seconds of training on an image: of this network, by its MACs, or of a typical one."""
        plan = scheduled(self._run)
        size = self._macs(arch) / plan.timed_macs if arch is not None and plan.timed_macs else 1.0
        return plan.seconds_per_image * pace(self._run) * size

    def _archs(self, trained: Mapping[str, TrainedNetwork]) -> list[Architecture]:
        return [Architecture.parse(one.arch) for one in trained.values()]
