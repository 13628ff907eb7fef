"""Methods that relax the space beside sampling from it, on NAS-Bench-Macro with CIFAR-10, at equal training cost.

For each seed one supernet is trained (sandwich rule, small images). From its weights every method trains on for the
same number of images with a backward pass, under a limit on MACs; what each ends as is looked up in NAS-Bench-Macro.
"ranker + guided" spends them on the supernet itself, then lets the product's ranker and search choose; "one-shot"
chooses by inherited accuracy alone. Resumable: what is in --work is not done again.

    python -m benchmarks.relax.macro --work FOLDER --seeds 3 --seconds 600
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks import common
from benchmarks.ranking.macro_data import HELD_OUT, MEAN, SPACE, STD, judging_images, pixels, read_truth, write
from pipeline.budget import read_budget
from pipeline.fewshot.partition import Partition
from pipeline.fewshot.prefix import JudgingImages
from pipeline.ranking.ranked import RankedScorer
from pipeline.ranking.scores import RegionScorer
from pipeline.relax.read_off import feasible_networks
from pipeline.relax.settings import RelaxSettings, relaxing_passes
from pipeline.relax.training import relax
from pipeline.search.costs import Costs, space_costs
from pipeline.search.evaluators import Scored
from pipeline.search.pool import FeasibleSpace
from pipeline.search.settings import RELAXING, Relaxing, SearchSettings
from pipeline.search.study import search
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes
from pipeline.supernets.augment import Augmentation
from pipeline.supernets.data import TrainingData
from pipeline.supernets.files import load_supernet, save_supernet
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet, inherit
from pipeline.supernets.training import train

LIMITS = {"40M": 40e6, "60M": 60e6}
JUDGED, EVALUATIONS = 120, 60
OTHERS = ("one-shot", "ranker + guided")


@dataclass(frozen=True)
class Scale:
    """Sizes of everything: pixels, training images, passes over them before and in each method, judging images."""

    pixels: int
    images: int
    start_epochs: float
    epochs: float
    judging: int


SCALES = {"smoke": Scale(8, 512, 1, 1, 128), "tiny": Scale(8, 2048, 3, 4, 512), "small": Scale(12, 5120, 4, 4, 1024)}


@dataclass
class Bench:
    """The data, the truth and the folder of one comparison."""

    data: TrainingData
    judging: JudgingImages
    truth: dict[Architecture, float]
    scale: Scale
    work: Path

    @property
    def space(self):  # type: ignore[no-untyped-def]
        return SPACE.with_resolutions([self.scale.pixels])

    def start(self, seed: int) -> Supernet:
        """The weights that every method of a seed starts from."""
        return self._trained(self.work / f"start-{seed}.safetensors", Supernet(self.space, seed=seed), seed, "start")

    def longer(self, seed: int) -> Supernet:
        """The same trained on, by what each relaxing method may spend."""
        path = self.work / f"longer-{seed}.safetensors"
        return self._trained(path, inherit(self.start(seed), self.space), 100 + seed, "longer")

    def _trained(self, path: Path, supernet: Supernet, seed: int, what: str) -> Supernet:
        if path.is_file():
            return load_supernet(path)
        passes = 4 if what == "start" else 1  # networks a step of each recipe
        epochs = self.scale.start_epochs / passes if what == "start" else self.scale.epochs
        settings = TrainSettings(
            recipe="sandwich" if what == "start" else "single-path",
            epochs=epochs,
            lr=0.05 if what == "start" else 0.02,
            weight_decay=5e-4,
            label_smoothing=0.0,
            grad_clip=5.0,
            seed=seed,
        )
        train(supernet, self.data, settings, path.with_suffix(".checkpoint"))
        save_supernet(supernet, path)
        path.with_suffix(".checkpoint").unlink(missing_ok=True)
        return load_supernet(path)

    def costs(self, limit: str) -> Costs:
        """MACs at the resolution that NAS-Bench-Macro trained at."""
        return space_costs(SPACE, read_budget({"macs": limit}), {})

    def problem(self, limit: str) -> FeasibleSpace:
        return FeasibleSpace(Codes(SPACE), self.costs(limit))

    def relaxed(self, method: Relaxing, limit: str, seed: int) -> Architecture:
        supernet = inherit(self.start(seed), self.space)
        epochs = self.scale.epochs / relaxing_passes(method, SPACE)
        settings = RelaxSettings(method, epochs, lr=0.02, weight_decay=5e-4, seed=seed)
        checkpoint = self.work / f"{method}-{limit}-{seed}.checkpoint"
        found = relax(supernet, self.data, self.costs(limit), settings, checkpoint)
        checkpoint.unlink(missing_ok=True)
        return feasible_networks(SPACE, found.gates, self.problem(limit), 1, seed)[0]

    def sampled(self, method: str, limit: str, seed: int) -> Architecture:
        """What the product's search finds with the longer supernet, by the ranker or by inherited scores."""
        supernet = self.longer(seed)
        scorer = RegionScorer(Partition.whole(self.space), [supernet], self.judging)
        seen: dict[Architecture, float] = {}

        def inherited(archs: list[Architecture]) -> list[float]:
            small = [Architecture(self.scale.pixels, arch.stages) for arch in archs]
            new = [arch for arch in dict.fromkeys(small) if arch not in seen]
            seen.update(zip(new, scorer(new), strict=True))
            return [seen[arch] for arch in small]

        problem, rank = self.problem(limit), inherited
        if method == "ranker + guided":
            rows = problem.random(JUDGED, np.random.default_rng([seed, 11]))
            archs = Codes(SPACE).decode(rows)
            ranker = RankedScorer.learn(Partition.whole(SPACE), archs, inherited(archs), [])

            def rank(archs: list[Architecture]) -> list[float]:
                return ranker(archs, inherited(archs))

        settings = SearchSettings("guided", EVALUATIONS, seed)
        journal = self.work / f"{method.replace(' ', '')}-{limit}-{seed}.journal"
        fidelity = "predictor" if method == "ranker + guided" else "inherited"
        result = search(Codes(SPACE), self.costs(limit), Scored(fidelity, rank), settings, journal)
        return Architecture.parse(result.best.arch)


def main() -> None:
    """Work for `--seconds`, then print what is there."""
    parser = common.parser(__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--scale", choices=list(SCALES), default="small")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.work.mkdir(parents=True, exist_ok=True)
    bench, began = _bench(chosen.work, SCALES[chosen.scale]), time.monotonic()
    for seed in range(chosen.seeds):
        for limit in LIMITS:
            for method in (*RELAXING, *OTHERS):
                if time.monotonic() - began < chosen.seconds:
                    _one(bench, method, limit, seed)
    print(table(bench, chosen.seeds))


def _one(bench: Bench, method: str, limit: str, seed: int) -> None:
    file = bench.work / f"{method.replace(' ', '')}-{limit}-{seed}.json"
    if file.exists():
        return
    bench.start(seed)
    if method in OTHERS:
        bench.longer(seed)
    began = time.process_time()
    run: Callable[[], Architecture] = (
        (lambda: bench.sampled(method, limit, seed))
        if method in OTHERS
        else (lambda: bench.relaxed(method, limit, seed))  # type: ignore[arg-type]
    )
    arch = run()
    minutes = (time.process_time() - began) / 60
    found = {"method": method, "limit": limit, "seed": seed, "arch": str(arch), "accuracy": bench.truth[arch]}
    write(file, {**found, "cpu_minutes": round(minutes, 2)})
    print(time.strftime("%H:%M:%S"), json.dumps(found), f"{minutes:.1f} CPU minutes", flush=True)


def table(bench: Bench, seeds: int) -> str:
    """True accuracy of what each method found, by limit: mean, every seed, and what random networks are worth."""
    lines = ["| method | " + " | ".join(LIMITS) + " | CPU minutes |", "|---|" + "---|" * (len(LIMITS) + 1)]
    for method in (*RELAXING, *OTHERS):
        cells, minutes = [], []
        for limit in LIMITS:
            files = [bench.work / f"{method.replace(' ', '')}-{limit}-{seed}.json" for seed in range(seeds)]
            found = [json.loads(file.read_text()) for file in files if file.exists()]
            values = [entry["accuracy"] for entry in found]
            minutes += [entry["cpu_minutes"] for entry in found]
            shown = ", ".join(f"{value:.2f}" for value in values)
            cells.append(f"{np.mean(values):.2f} ({shown})" if values else "")
        lines.append(f"| {method} | {' | '.join(cells)} | {np.mean(minutes) if minutes else 0:.1f} |")
    for name, pick in (("random, mean", np.mean), ("the best there is", np.max), ("most MACs", None)):
        cells = []
        for limit in LIMITS:
            rows = bench.problem(limit).everything
            values = np.array([bench.truth[arch] for arch in Codes(SPACE).decode(rows)])
            macs = bench.costs(limit)["macs"].of(rows)
            cells.append(f"{values[np.argmax(macs)] if pick is None else pick(values):.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} | |")
    return "\n".join(lines)


def _bench(work: Path, scale: Scale) -> Bench:
    images, labels = pixels(work)
    rows = slice(HELD_OUT, HELD_OUT + scale.images)
    size = scale.pixels
    small = torch.nn.functional.interpolate(
        torch.from_numpy(np.array(images[rows])).permute(0, 3, 1, 2).float(), (size, size), mode="area"
    )
    data = TrainingData(
        small.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous(),
        torch.from_numpy(labels[rows]),
        MEAN,
        STD,
        Augmentation(),
    )
    truth = read_truth()
    judging = judging_images(work, "cpu", scale.judging, scale.judging)
    return Bench(data, judging, dict(zip(truth.archs, truth.accuracy.tolist(), strict=True)), scale, work)


if __name__ == "__main__":
    main()
