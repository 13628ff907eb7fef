"""Does few-shot pay where the parent starts from published weights? Truth, supernets, scores; `lite0_report` tells.

    OMP_NUM_THREADS=1 python -m benchmarks.ranking.lite0_fewshot truth --work DIR      # networks trained alone
    OMP_NUM_THREADS=1 python -m benchmarks.ranking.lite0_fewshot seeds --work DIR      # supernets, and their scores
    OMP_NUM_THREADS=1 python -m benchmarks.ranking.lite0_fewshot averages --work DIR   # scores by their late averages
    python -m benchmarks.ranking.lite0_fewshot collect --work DIR --out docs/results/fewshot-lite0

The truth's networks inherit from a supernet of their own, which ranks nothing, and are trained by the recipe that a
run's finalists have. Every network and every supernet leaves a file in DIR, which is of one scale, and is not done
again; what was killed goes on. `--seconds` of CPU time after which to stop between two of them.
"""

import argparse
import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import common
from benchmarks.ranking.lite0_pictures import Pictures, pictures
from benchmarks.ranking.lite0_problem import SCALES, SPACE, Scale, macs, networks
from benchmarks.ranking.lite0_train import BATCH, WAYS, Seed, slug
from benchmarks.ranking.lite0_zero import ZERO_COST, zero_cost
from latency_tables.blocks import total_params
from latency_tables.files import write_atomic
from pipeline.fewshot.children import average_weights
from pipeline.fewshot.partition import Partition
from pipeline.ranking.scores import RegionScorer
from pipeline.search.score_log import ScoreLog
from pipeline.spaces.architecture import Architecture
from pipeline.supernets.evaluate import evaluate, refresh_batchnorm
from pipeline.supernets.files import load_supernet
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import train

TRUTH_SEED, AGAIN_SEED = 99, 98  # of the supernets that the truth's networks inherit from
ALONE_LR, BATCHNORM_ALONE = 1e-3, 2000  # a run's own
ROOT = "root"
AVERAGED = ", late average"  # of the weights after the last two epochs


@dataclass(frozen=True)
class Experiment:
    """Everything in one folder."""

    work: Path
    scale: Scale
    pictures: Pictures
    stop: float  # CPU seconds of this process

    def seed(self, number: int) -> Seed:
        """Supernets of one seed."""
        return Seed(self.work / f"seed{number}", number, self.scale, self.pictures)

    def truth(self, name: str, archs: Sequence[Architecture], seed: int) -> None:
        """Train what is missing of `archs` alone, each from what it inherits from the supernet of `seed`."""
        log, parent = self.truths(name), self.seed(seed).root
        for arch in archs:
            if str(arch) in log.known():
                continue
            self.in_time()
            began = time.process_time()
            network = parent.extract(arch)
            settings = TrainSettings(
                "alone", self.scale.alone_epochs, BATCH, ALONE_LR, "adamw", seed=seed, checkpoint_seconds=600
            )
            train(network, self.pictures.train, settings)
            first = torch.arange(min(BATCHNORM_ALONE, len(self.pictures.train)))
            refresh_batchnorm(network, self.pictures.train.normalised(first))
            score = evaluate(network, self.pictures.test, self.pictures.test.labels)
            spent = round(time.process_time() - began, 2)
            found = {"accuracy": score.accuracy, "cross_entropy": score.cross_entropy, "cpu_seconds": spent}
            log.add({str(arch): found})
            told(f"{name} {len(log.known())} of {len(archs)}: {score.accuracy:.4f} in {spent:.0f} s")

    def truths(self, name: str) -> ScoreLog:
        """The networks of `truth` or `again` that have been trained."""
        return ScoreLog(self.work / f"{name}.jsonl", "accuracy", "cross_entropy")

    def judge(self, number: int, names: Sequence[str]) -> None:
        """Train and judge by the root and by each way, in this order."""
        seed, (truth, others) = self.seed(number), networks(self.scale)
        self.scores(seed, ROOT, Partition.whole(SPACE), [seed.root], [*truth, *others])
        for name in names:
            partition, children = seed.partition(name), []
            for region in range(len(partition.regions)):
                self.in_time()
                children.append(seed.child(name, region))
            self.scores(seed, name, partition, children, [*truth, *others])

    def average(self, number: int, names: Sequence[str]) -> None:
        """Judge the truth's networks by the late averages of each way that has been trained."""
        seed, (truth, _) = self.seed(number), networks(self.scale)
        for name in names:
            partition = seed.partition(name)
            averaged = [late_average(seed.file(name, region)) for region in range(len(partition.regions))]
            self.scores(seed, name + AVERAGED, partition, averaged, truth)

    def scores(
        self, seed: Seed, name: str, partition: Partition, children: list[Supernet], archs: list[Architecture]
    ) -> None:
        """Judge what is new with inherited weights."""
        log = seed_scores(seed, name)
        new = [arch for arch in archs if str(arch) not in log.known()]
        if not new:
            return
        self.in_time()
        began = time.process_time()
        found = RegionScorer(partition, children, self.pictures.judging(self.scale.batchnorm)).judged(new)
        spent = (time.process_time() - began) / len(new)
        entries = zip(new, found, strict=True)
        log.add(
            {
                str(arch): {
                    "cross_entropy": score.cross_entropy,
                    "accuracy": score.accuracy,
                    "region": partition.route(arch),
                    "cpu_seconds": spent,
                }
                for arch, score in entries
            }
        )
        told(f"seed {seed.seed}, {name}: {len(new)} judged, {spent:.2f} s each")

    def in_time(self) -> None:
        """Stop here where the time is over."""
        if time.process_time() > self.stop:
            raise SystemExit("time is over; the same command goes on")


def seed_scores(seed: Seed, name: str) -> ScoreLog:
    """The scores by one way of a seed."""
    return ScoreLog(seed.folder / f"scores-{slug(name)}.jsonl", "cross_entropy", "region")


def late_average(file: Path) -> Supernet:
    """The mean of a supernet's weights after its last two epochs (the last one may be a part)."""
    supernet = load_supernet(file)
    kept = sorted(file.parent.glob(f"{file.stem}.after-*"))[-2:]
    average_weights(supernet, [load_supernet(path) for path in kept])
    return supernet


def again(scale: Scale, truth: Sequence[Architecture]) -> list[Architecture]:
    """The networks that are trained twice: evenly over the truth's order, so over the bands as well."""
    return [truth[number * len(truth) // scale.again] for number in range(scale.again)]


def collect(experiment: Experiment, seeds: Sequence[int], out: Path) -> None:
    """What the report reads, as two small CSV files: `out`-networks.csv and `out`-scores.csv."""
    truth, others = networks(experiment.scale)
    known, second = experiment.truths("truth").known(), experiment.truths("again").known()
    numbers = {str(arch): number for number, arch in enumerate([*truth, *others])}
    untrained = dict(zip(map(str, truth), zero_cost(truth, experiment.pictures), strict=True))
    rows = [["network", "arch", "macs", "params", "accuracy", "accuracy_again", "cpu_seconds", *ZERO_COST]]
    for arch, size in zip([*truth, *others], macs([*truth, *others]), strict=True):
        first = known.get(str(arch), {})
        values = [first.get("accuracy"), second.get(str(arch), {}).get("accuracy"), first.get("cpu_seconds")]
        values += [untrained.get(str(arch), {}).get(name) for name in ZERO_COST]
        blank = ["" if value is None else f"{value:.6g}" for value in values]
        rows.append([str(numbers[str(arch)]), str(arch), f"{size:.0f}", f"{total_params(SPACE.blocks(arch))}", *blank])
    _write(out.with_name(out.name + "-networks.csv"), rows)
    rows = [["seed", "ranked_by", "network", "region", "cross_entropy", "accuracy"]]
    for number in seeds:
        for name in (ROOT, *(name + late for name in WAYS for late in ("", AVERAGED))):
            found = seed_scores(experiment.seed(number), name).known()
            rows += [
                [f"{number}", name, f"{numbers[arch]}", f"{s['region']:.0f}", f"{s['cross_entropy']:.5f}",
                 f"{s['accuracy']:.4f}"]
                for arch, s in sorted(found.items(), key=lambda entry: numbers.get(entry[0], -1))
                if arch in numbers
            ]  # fmt: skip
    _write(out.with_name(out.name + "-scores.csv"), rows)


def _write(path: Path, rows: Sequence[Sequence[str]]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    write_atomic(path, stream.getvalue().encode())


def told(line: str) -> None:
    """A line with the time."""
    print(time.strftime("%H:%M:%S"), line, flush=True)


def main() -> None:
    """One of the four."""
    parser = common.parser(__doc__)
    parser.add_argument("what", choices=("truth", "seeds", "averages", "collect"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--networks", type=int, help="of the truth's, the first so many")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--out", type=Path, default=Path("fewshot-lite0"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    scale = SCALES[given.scale]
    taken = pictures(given.work, scale.pictures, scale.train, scale.search, scale.test)
    experiment = Experiment(given.work, scale, taken, given.seconds)
    if given.what == "collect":
        collect(experiment, given.seeds, given.out)
    elif given.what == "truth":
        _truth(experiment, given)
    else:
        work = experiment.judge if given.what == "seeds" else experiment.average
        for number in given.seeds:
            work(number, given.ways)


def _truth(experiment: Experiment, given: argparse.Namespace) -> None:
    truth, _ = networks(experiment.scale)
    experiment.truth("truth", truth[: given.networks], TRUTH_SEED)
    if given.networks is None:
        experiment.truth("again", again(experiment.scale, truth), AGAIN_SEED)


if __name__ == "__main__":
    main()
