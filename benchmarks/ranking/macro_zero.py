"""Zero-cost columns on NAS-Bench-Macro, alone and beside the product's ranker, for networks inside a limit.

    OMP_NUM_THREADS=1 python -m benchmarks.ranking.macro_zero score --work DIR    # goes on where it was
    python -m benchmarks.ranking.macro_zero report --work DIR                     # of what has been scored

DIR is that of `benchmarks.search.finals`, with what its supernets have judged. Networks are scored in a random order,
so that any part of them is a fair sample; the report is of those that all `--weights` seeds have scored.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from benchmarks import common
from benchmarks.ranking.macro_data import SPACE, training_data
from benchmarks.ranking.macro_train import one_thread
from benchmarks.ranking.zero_cost import (
    PARTS,
    WEIGHTS,
    activations,
    assembled,
    az_nas,
    naswot,
    response_correlation,
    with_column,
)
from benchmarks.search.finals import Limit, limits, ranker_of
from benchmarks.search.judged import Judged
from latency_tables.blocks import total_macs
from pipeline.ranking.statistics import kendall_tau, tau_estimate
from pipeline.ranking.weighted import Floats
from pipeline.search.score_log import ScoreLog
from pipeline.spaces.architecture import Architecture
from pipeline.supernets.network import Network

NAMES = ("nonlinearities", "naswot", *PARTS, "wrcor")
ORDER_SEED = 5


def log(work: Path, seed: int) -> ScoreLog:
    """What has been scored with the random weights of `seed`."""
    return ScoreLog(work / f"zero-cost-{seed}.jsonl", *NAMES)


def score(limit: Limit, work: Path, seeds: list[int], images: int, seconds: float) -> None:
    """Score what is missing, for so many CPU seconds."""
    data = training_data(work, "cpu")
    batch, labels = data.normalised(torch.arange(images)), data.labels[:images]
    logs = {seed: log(work, seed) for seed in seeds}
    order = sorted(limit.archs, key=str)
    random.Random(ORDER_SEED).shuffle(order)
    for done, arch in enumerate(order, 1):
        for seed, known in logs.items():
            if str(arch) in known.known():
                continue
            if time.process_time() > seconds:
                raise SystemExit("time is over; the same command goes on")
            began = time.process_time()
            network = Network(SPACE.blocks(arch), seed)
            found = az_nas(network, seed, images)
            columns = {
                "nonlinearities": float(len(activations(network))),
                "naswot": naswot(network, batch),
                **{name: float(getattr(found, name)) for name in PARTS},
                "wrcor": response_correlation(network, batch, labels),
            }
            known.add({str(arch): {**columns, "cpu_seconds": time.process_time() - began}})
        common.progress(done, len(order), "networks")


@dataclass(frozen=True)
class Report:
    """The networks that all seeds of random weights have scored, with what they are worth."""

    limit: Limit
    work: Path
    weights: list[int]
    supernets: list[int]

    @cached_property
    def archs(self) -> list[Architecture]:
        logs = [log(self.work, seed).known() for seed in self.weights]
        return [arch for arch in self.limit.archs if all(str(arch) in known for known in logs)]

    @cached_property
    def truth(self) -> Floats:
        worth = dict(zip(self.limit.archs, self.limit.worth.tolist(), strict=True))
        return np.array([worth[arch] for arch in self.archs])

    def rows(self) -> Iterator[list[str]]:
        """A line for each column and each seed of random weights, after those of the supernets."""
        scores, ranker = [], []
        for seed in self.supernets:
            judged = Judged(self.work / f"seed{seed}", 32, 128, 600)
            scores.append(np.array(judged.scores(self.archs)))
            ranker.append(np.array(ranker_of(self.limit, judged, seed)(self.archs, scores[-1].tolist())))
        before = self._taus(ranker)
        for name, taus in (("inherited score", self._taus(scores)), ("ranker", before)):
            yield [name, "", " ".join(common.over_seeds(taus, ".3f")), *[""] * len(WEIGHTS)]
        for seed in self.weights:
            for name, column in self.columns(seed).items():
                alone = tau_estimate(column, self.truth)
                cells = [name, f"{seed}", f"{alone.value or 0.0:.3f} [{alone.low or 0.0:.3f}, {alone.high or 0.0:.3f}]"]
                for weight in WEIGHTS:
                    added = self._taus([with_column(values, column, weight) for values in ranker])
                    cells.append(f"{added.mean():.3f}, {' '.join(common.over_seeds(added - before, '+.3f'))}")
                yield cells

    def columns(self, seed: int) -> dict[str, Floats]:
        """Everything to rank by, shape (n,), with the random weights of `seed`."""
        known = log(self.work, seed).known()
        found = {name: np.array([known[str(arch)][name] for arch in self.archs]) for name in NAMES}
        macs = np.array([float(total_macs(SPACE.blocks(arch))) for arch in self.archs])
        return {
            "MACs": macs,
            **found,
            "AZ-NAS": assembled(np.stack([*(found[name] for name in PARTS), macs], axis=1)),
        }

    def told(self) -> str:
        """How many networks, and what scoring one took."""
        logs = [log(self.work, seed).known() for seed in self.weights]
        seconds = np.mean([known[str(arch)]["cpu_seconds"] for known in logs for arch in self.archs])
        return f"{len(self.archs)} of {len(self.limit.archs)} networks, {seconds:.2f} CPU seconds for one"

    def _taus(self, rankings: Sequence[Floats]) -> Floats:
        return np.array([kendall_tau(values, self.truth) or 0.0 for values in rankings])


def main() -> None:
    """Score, or report."""
    parser = common.parser(__doc__)
    parser.add_argument("what", choices=("score", "report"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--macs", default="40M")
    parser.add_argument("--weights", type=int, nargs="+", default=[0, 1], help="seeds of the random weights")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5, 6], help="of the supernets")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=1e9)
    given = parser.parse_args()
    one_thread()
    (limit,) = limits([given.macs], (), None)
    if given.what == "score":
        score(limit, given.work, given.weights, given.images, given.seconds)
        return
    report = Report(limit, given.work, given.weights, given.seeds)
    print(f"{limit.name}: {report.told()}\n")
    head = [f"ranker with {weight:g} of it, gain [95 % over supernets]" for weight in WEIGHTS]
    common.print_table(("ranked by", "weights", "tau alone [95 %]", *head), report.rows())


if __name__ == "__main__":
    main()
