"""Does few-shot rank better than one-shot at equal cost? Trains, scores and labels; `nb_macro_report.py` tells.

    OMP_NUM_THREADS=1 nice -n 19 python -m benchmarks.ranking.macro_fewshot --work DIR [--seeds 0,1] [--scale small]
    python -m benchmarks.ranking.macro_fewshot --work DIR --scale large --device cuda --seeds 0,1,2

Every step leaves a file in DIR and is not done again; a training that was killed goes on where it was.
"""

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks import common
from benchmarks.ranking.macro_data import SPACE, drawn, judging_images, read_truth, training_data, write
from benchmarks.ranking.macro_train import Leg, Trainer, at_resolution, fresh, one_thread
from pipeline.fewshot.criteria import Evidence, divide
from pipeline.fewshot.decisions import Decision, decisions_of
from pipeline.fewshot.partition import Partition
from pipeline.ranking.private_tuning import PrivateTuning, privately_tuned
from pipeline.ranking.scores import RegionScorer
from pipeline.spaces.architecture import Architecture
from pipeline.supernets.evaluate import Score
from pipeline.supernets.files import load_supernet
from pipeline.supernets.supernet import Supernet, inherit


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything. `extra` is what each variant trains on after the root, over all its regions."""

    root: tuple[Leg, ...]
    extra: tuple[Leg, ...]
    networks: int
    labels: int
    bn_images: int
    images: int
    labelling: PrivateTuning
    tuning: PrivateTuning
    top: int
    gradient_batches: int
    batch_size: int = 64


SCALES = {
    "tiny": Scale(  # does it run?
        (Leg(16, 640, 0.03),), (Leg(16, 3_200, 0.02),), 12, 8, 40, 40, PrivateTuning(1, 32), PrivateTuning(1, 32), 4, 1
    ),
    "small": Scale(  # about 40 CPU minutes a seed on one core
        (Leg(16, 192_000, 0.03), Leg(32, 16_000, 0.015)),
        (Leg(16, 24_000, 0.02), Leg(32, 14_400, 0.01)),
        300, 48, 150, 1000, PrivateTuning(40, 64), PrivateTuning(10, 64), 15, 4,
    ),
    "medium": Scale(  # about two hours a seed on one core
        (Leg(16, 900_000, 0.03), Leg(32, 90_000, 0.015)),
        (Leg(16, 450_000, 0.02), Leg(32, 45_000, 0.01)),
        300, 80, 250, 2000, PrivateTuning(40, 64), PrivateTuning(20, 64), 20, 20,
    ),
    "large": Scale(  # about an hour a seed on a data-centre GPU
        (Leg(32, 9_000_000, 0.1),),
        (Leg(32, 4_500_000, 0.05),),
        1000, 100, 2000, 5000, PrivateTuning(200, 256, 0.02), PrivateTuning(20, 256, 0.02), 50, 50, 256,
    ),
}  # fmt: skip

# Criterion, regions, and the decisions it may choose from (empty: any layer's op).
VARIANTS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "gradient": ("gradient", 2, ()),
    "exhaustive": ("exhaustive", 3, ("stage1.layer1.op",)),
    "random": ("random", 2, ()),
    "similarity": ("similarity", 2, ()),
    "exhaustive9": ("exhaustive", 9, ("stage1.layer1.op", "stage2.layer1.op")),
}
USUAL = ("gradient", "exhaustive", "random")


class Experiment:
    """One seed of the experiment in a folder of its own."""

    def __init__(self, work: Path, seed: int, scale: Scale, device: str, pause: Path | None) -> None:
        self.folder, self.seed, self.scale, self.device = work / f"seed{seed}", seed, scale, device
        self.folder.mkdir(parents=True, exist_ok=True)
        data = training_data(work, device)
        self.trainer = Trainer(data, seed, scale.batch_size, pause)
        self.judging = judging_images(work, device, scale.bn_images, scale.images)
        self.archs, self.labelled = drawn(read_truth(), scale.networks, scale.labels)

    def run(self, variants: Sequence[str]) -> None:
        """All steps, the most telling first, so that a run that is stopped early tells most."""
        root = self.trainer.run(fresh(SPACE, self.seed), self.scale.root, self.folder / "root.safetensors")
        more = self.trainer.run(root, self.scale.extra, self.folder / "oneshot.safetensors")
        whole = Partition.whole(SPACE)
        self.variant("oneshot", whole, [more])
        for name in variants:
            partition, spent = self.split(root, name, *VARIANTS[name])
            self.variant(name, partition, self.children(root, name, partition, spent))
        self.step("border.json", lambda: self.judged(self.labelled, whole, [root]))  # what calibrates the regions
        self.tuned("labels", self.labelled, whole, [more], self.scale.labelling)
        for name in ("oneshot", *variants):
            scores = self.read(f"{name}.json")["scores"]
            best = sorted(self.archs, key=lambda arch: scores[str(arch)][1])[: self.scale.top]
            self.tuned(f"{name}-top", best, *self.trained(name), self.scale.tuning)
        self.variant("root", whole, [root])

    def split(
        self, root: Supernet, name: str, criterion: str, regions: int, decisions: tuple[str, ...]
    ) -> tuple[Partition, int]:
        """The partition, and the images that choosing it cost (at the first leg's resolution)."""
        path = self.folder / f"{name}.partition.json"
        ops = [d for d in decisions_of(SPACE) if d.kind == "op"]
        batches = self.scale.gradient_batches if criterion == "gradient" else 0
        spent = batches * self.scale.batch_size * sum(len(d.options(SPACE)) for d in ops)
        if not path.is_file():
            size = self.scale.extra[0].resolution
            generator = torch.Generator().manual_seed(self.seed)
            data, count = self.trainer.data, self.scale.batch_size
            order = torch.randperm(len(data), generator=generator)
            taken = [data.training_batch(order[i * count : (i + 1) * count], generator) for i in range(batches)]
            evidence = Evidence(at_resolution(root, size).to(self.device), taken, random.Random(self.seed))
            chosen = [Decision.parse(text) for text in decisions] or ops
            found = divide(SPACE.with_resolutions([size]), criterion, regions, evidence, chosen)
            kept = [region.with_resolutions(SPACE.resolutions) for region in found.regions]
            Partition(SPACE, tuple(kept), criterion, found.splits).save(path)
        return Partition.load(path), spent

    def children(self, root: Supernet, name: str, partition: Partition, spent: int) -> list[Supernet]:
        """The children, trained together on exactly what `oneshot` trained on after the root."""
        count = len(partition.regions)
        first, *later = self.scale.extra
        legs = [Leg(first.resolution, (first.images - spent) // count, first.lr)]
        legs += [Leg(leg.resolution, leg.images // count, leg.lr) for leg in later]
        parent = root.cpu()
        return [
            self.trainer.run(inherit(parent, region), legs, self.folder / f"{name}.{number}.safetensors")
            for number, region in enumerate(partition.regions)
        ]

    def trained(self, name: str) -> tuple[Partition, list[Supernet]]:
        """Partition and children of a variant that has been trained."""
        if name in ("root", "oneshot"):
            return Partition.whole(SPACE), [load_supernet(self.folder / f"{name}.safetensors").to(self.device)]
        partition = Partition.load(self.folder / f"{name}.partition.json")
        files = [self.folder / f"{name}.{number}.safetensors" for number in range(len(partition.regions))]
        return partition, [load_supernet(file).to(self.device) for file in files]

    def variant(self, name: str, partition: Partition, children: list[Supernet]) -> None:
        """Scores of all networks, ranked and labelled, by this variant."""

        self.step(f"{name}.json", lambda: self.judged([*self.archs, *self.labelled], partition, children))

    def judged(self, archs: list[Architecture], partition: Partition, children: list[Supernet]) -> dict[str, object]:
        """Scores with inherited weights, and regions."""
        scorer = RegionScorer(partition, self.full_size(children), self.judging)
        scores = scorer.judged(archs, lambda *_: self.trainer.wait())
        return {"scores": _by_arch(archs, scores), "regions": {str(arch): partition.route(arch) for arch in archs}}

    def tuned(
        self,
        name: str,
        archs: list[Architecture],
        partition: Partition,
        children: list[Supernet],
        tuning: PrivateTuning,
    ) -> None:
        """Scores of `archs` after a private fine-tune from the weights of their region."""

        def work() -> dict[str, object]:
            wide = self.full_size(children)
            done = self.folder / f"{name}.jsonl"
            scores = dict(json.loads(line) for line in done.read_text().splitlines()) if done.exists() else {}
            for arch in archs:
                if str(arch) in scores:
                    continue
                self.trainer.wait()
                child = wide[partition.route(arch)]
                (score,) = privately_tuned(child, [arch], self.trainer.data, self.judging, tuning)
                scores[str(arch)] = [score.accuracy, score.cross_entropy]
                with done.open("a") as stream:
                    stream.write(json.dumps([str(arch), scores[str(arch)]]) + "\n")
            return {"scores": scores}

        self.step(f"{name}.json", work)

    def full_size(self, children: list[Supernet]) -> list[Supernet]:
        """The same weights for images of the space's own resolution, on the device."""
        return [at_resolution(child, SPACE.resolutions[-1]).to(self.device) for child in children]

    def step(self, file: str, work: Callable[[], dict[str, object]]) -> None:
        """Do `work` unless its file is there."""
        if not (self.folder / file).is_file():
            began, cpu = time.monotonic(), time.process_time()
            document = work()
            seconds = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu}
            write(self.folder / file, document | seconds | {"scale": asdict(self.scale)})
        print(f"{time.strftime('%H:%M:%S')} {self.folder.name}/{file}", flush=True)

    def read(self, file: str) -> dict[str, dict[str, list[float]]]:
        """A file that `step` wrote."""
        document: dict[str, dict[str, list[float]]] = json.loads((self.folder / file).read_text())
        return document


def _by_arch(archs: list[Architecture], scores: list[Score]) -> dict[str, list[float]]:
    return {str(arch): [score.accuracy, score.cross_entropy] for arch, score in zip(archs, scores, strict=True)}


def main() -> None:
    """Run the experiment."""
    parser = common.parser(__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--variants", default=",".join(USUAL), help=", ".join(VARIANTS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pause-while", type=Path, help="stand aside between steps while this file exists")
    given = parser.parse_args()
    if given.device == "cpu":
        one_thread()
    for seed in map(int, given.seeds.split(",")):
        experiment = Experiment(given.work, seed, SCALES[given.scale], given.device, given.pause_while)
        experiment.run(given.variants.split(","))


if __name__ == "__main__":
    main()
