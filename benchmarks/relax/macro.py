"""Methods that relax the space beside supernets that rank networks, on NAS-Bench-Macro with CIFAR-10, at equal cost.

    python -m benchmarks.ranking.macro_fewshot --work DIR --seeds 3,4,5      # leaves DIR/seedN/root.safetensors first
    pocketnas profile nas-bench-macro --device host --quick --out TABLE
    python -m benchmarks.relax.macro --work DIR --table TABLE --latency-ms X --rows relax.csv

From each root every method trains on at 16 pixels, under one limit, for equally many multiply-accumulates: the relaxing
ones on `--images` images (second order DARTS on fewer, by its passes), one-shot and the three regions of few-shot on as
many more as one path is cheaper than all. Those two then judge 40 random networks inside the limit, from which the
product's ranker learns, and 24 that `guided` chooses by it. What each ends as is looked up. A line of `--rows` is not
done again; `--limits` and `--seconds` do a part.
"""

import csv
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks import common
from benchmarks.ranking.macro_data import SPACE, OnDevice, judging_images, read_truth, training_data
from benchmarks.ranking.macro_fewshot import SCALES
from benchmarks.ranking.macro_train import Leg, Trainer, at_resolution, fresh, one_thread
from latency_tables.store import load_table
from pipeline.budget import read_budget
from pipeline.fewshot.decisions import Decision
from pipeline.fewshot.partition import Partition, Split
from pipeline.fewshot.prefix import JudgingImages
from pipeline.ranking.ranked import RankedScorer
from pipeline.ranking.scores import RegionScorer
from pipeline.relax.read_off import feasible_networks
from pipeline.relax.settings import RelaxSettings, relaxing_passes
from pipeline.relax.training import relax
from pipeline.search.costs import Costs, space_costs
from pipeline.search.evaluators import Scored
from pipeline.search.pool import FeasibleSpace
from pipeline.search.settings import RELAXING, SearchSettings, relaxing
from pipeline.search.study import search
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes
from pipeline.spaces.cost import AdditiveCost
from pipeline.supernets.supernet import Supernet, inherit

PIXELS, LR, WEIGHT_DECAY, BATCH = 16, 0.02, 5e-4, 32
JUDGED, EVALUATIONS, JUDGING = 40, 24, 512
RANKING = {"one-shot, ranker": (), "few-shot, ranker": (("skip",), ("k3e3",), ("k5e6",))}
SPLIT = Decision("op", 1, 1)
COLUMNS = ("limit", "method", "seed", "arch", "accuracy", "macs", "training_cpu_seconds", "choosing_cpu_seconds")
SMALL = SPACE.with_resolutions([PIXELS])


@dataclass(frozen=True)
class Bench:
    """What all runs share. `work` holds a folder for each seed; a relaxation trains on `images`."""

    work: Path
    data: OnDevice
    judging: JudgingImages
    limits: dict[str, Costs]
    images: int

    @cached_property
    def truth(self) -> dict[Architecture, float]:
        """True accuracies (%) of all networks."""
        found = read_truth()
        return dict(zip(found.archs, found.accuracy.tolist(), strict=True))

    def root(self, seed: int) -> Supernet:
        """The weights that everything of a seed starts from."""
        folder = self.work / f"seed{seed}"
        return self.trainer(seed).run(fresh(SPACE, seed), SCALES["small"].root, folder / "root.safetensors")

    def trainer(self, seed: int) -> Trainer:
        return Trainer(self.data, seed)

    def problem(self, limit: str) -> FeasibleSpace:
        return FeasibleSpace(Codes(SPACE), self.limits[limit])

    def run(self, method: str, limit: str, seed: int) -> dict[str, object]:
        """One row of the table."""
        found, training, choosing = (
            self.relaxed(method, limit, seed) if relaxing(method) else self.ranked(method, limit, seed)  # type: ignore[arg-type]
        )
        accuracy, macs = self.truth[found], sum(block.macs for block in SPACE.blocks(found))
        values = (limit, method, seed, str(found), f"{accuracy:.3f}", macs, f"{training:.1f}", f"{choosing:.1f}")
        return dict(zip(COLUMNS, values, strict=True))

    def relaxed(self, method: str, limit: str, seed: int) -> tuple[Architecture, float, float]:
        """What a relaxing method ends as; CPU seconds of training it, and of reading off."""
        settings = RelaxSettings(
            method,  # type: ignore[arg-type]
            epochs=self.images / len(self.data) / relaxing_passes(method, SMALL),  # type: ignore[arg-type]
            batch_size=BATCH,
            lr=LR,
            weight_decay=WEIGHT_DECAY,
            seed=seed,
        )
        supernet = at_resolution(self.root(seed), PIXELS)
        began = time.process_time()
        found = relax(supernet, self.data, self.limits[limit], settings)
        trained = time.process_time()
        (arch,) = feasible_networks(SPACE, found.gates, self.problem(limit), 1, seed)
        return arch, trained - began, time.process_time() - trained

    def ranked(self, method: str, limit: str, seed: int) -> tuple[Architecture, float, float]:
        """What the product's search ends as by the ranker on one supernet or on several; CPU seconds likewise."""
        whole = Partition.whole(SMALL)
        partition = whole.divided(0, Split(SPLIT, RANKING[method])) if RANKING[method] else whole
        began = time.process_time()
        children = self.children(method, partition, seed)
        trained = time.process_time()
        scorer = RegionScorer(partition, children, self.judging)

        def small(archs: list[Architecture]) -> list[Architecture]:
            return [Architecture(PIXELS, arch.stages) for arch in archs]

        codes, problem = Codes(SPACE), self.problem(limit)
        known = small(codes.decode(problem.random(JUDGED, np.random.default_rng([seed, 11]))))
        ranker = RankedScorer.learn(partition, known, scorer(known), [])

        def rank(archs: list[Architecture]) -> list[float]:
            return ranker(small(archs), scorer(small(archs)))

        journal = self.work / f"seed{seed}" / f"{method.replace(', ', '-')}.{limit.replace(' ', '-')}.journal"
        journal.unlink(missing_ok=True)
        settings = SearchSettings("guided", EVALUATIONS, seed)
        best = search(codes, self.limits[limit], Scored("ranker", rank), settings, journal).best
        return Architecture.parse(best.arch), trained - began, time.process_time() - trained

    def children(self, method: str, partition: Partition, seed: int) -> list[Supernet]:
        """The root trained on, in each region for its share; kept for other limits."""
        root, folder = at_resolution(self.root(seed), PIXELS), self.work / f"seed{seed}"
        images = self.images * relaxed_macs() / one_path_macs() / len(partition.regions)
        name = method.replace(", ranker", "")
        return [
            self.trainer(seed).run(
                inherit(root, region), [Leg(PIXELS, round(images), LR)], folder / f"{name}-{number}.safetensors"
            )
            for number, region in enumerate(partition.regions)
        ]


def relaxed_macs() -> float:
    """Multiply-accumulates of one image through all ops of all layers."""
    top = AdditiveCost(SMALL, lambda block: block.macs).maximum()[0]
    size, before = SMALL.stem_block(PIXELS).out_size, SMALL.stem.channels
    beside = 0.0
    for stage in SMALL.stages:
        largest, (width,) = stage.slots[0][-1], stage.widths
        beside += sum(stage.first_block(size, before, width, op).macs for op in stage.slots[0] if op != largest)
        size, before = -(-size // stage.stride), width
        beside += sum(stage.later_block(size, width, op).macs for slot in stage.slots[1:] for op in slot[:-1])
    return top + beside


def one_path_macs() -> float:
    """The same of one network as supernets draw them, on average."""
    cost, codes = AdditiveCost(SMALL, lambda block: block.macs), Codes(SMALL)
    return fmean(cost(codes.sample(4096, np.random.default_rng(0), over_networks=False)).tolist())


def main() -> None:
    """Do what is missing, in the order of the limits, and append it to the rows."""
    parser = common.parser(__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="latency table, for a limit on milliseconds")
    parser.add_argument("--latency-ms", type=float)
    parser.add_argument("--limits", default="40M,60M,ms")
    parser.add_argument("--seeds", default="3,4,5")
    parser.add_argument("--images", type=int, default=2400)
    parser.add_argument("--seconds", type=float, default=3600, help="begin nothing after so many seconds")
    given, began = parser.parse_args(), time.monotonic()
    one_thread()
    budgets = {f"{name} MACs": {"macs": name} for name in given.limits.split(",") if name != "ms"}
    limits = {name: space_costs(SPACE, read_budget(budget), {}) for name, budget in budgets.items()}
    if given.table is not None and "ms" in given.limits.split(","):
        budget = read_budget({"latency_ms": given.latency_ms})
        limits[f"{given.latency_ms:g} ms"] = space_costs(SPACE, budget, {"host": load_table(str(given.table))})
    data, judging = training_data(given.work, "cpu"), judging_images(given.work, "cpu", 150, JUDGING)
    bench = Bench(given.work, data, judging, limits, given.images)
    done = {(row["limit"], row["method"], int(row["seed"])) for row in _rows(given.rows)}
    for limit in limits:
        for seed in map(int, given.seeds.split(",")):
            for method in (*RELAXING, *RANKING):
                if (limit, method, seed) not in done and time.monotonic() - began < given.seconds:
                    _append(given.rows, bench.run(method, limit, seed))


def _rows(file: Path) -> list[dict[str, str]]:
    return common.read_rows(file) if file.exists() else []


def _append(file: Path, row: dict[str, object]) -> None:
    new = not file.exists()
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(time.strftime("%H:%M:%S"), *row.values(), flush=True)


if __name__ == "__main__":
    main()
