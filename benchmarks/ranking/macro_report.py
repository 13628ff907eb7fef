"""The tables of docs/results/fewshot.md from what `macro_fewshot.py` has left so far.

    python -m benchmarks.ranking.macro_report --work DIR

Seeds are averaged; intervals are over the ranked networks, all seeds resampled alike, and the spread over seeds
stands beside them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.ranking.macro_data import SPACE, Truth, drawn, read_truth
from benchmarks.ranking.macro_fewshot import VARIANTS
from latency_tables.blocks import total_macs, total_params
from pipeline.ranking.calibration import calibrate
from pipeline.ranking.features import PARTS, Features, Part
from pipeline.ranking.prior import Prior
from pipeline.ranking.private_tuning import reranked
from pipeline.ranking.pruning import pruning
from pipeline.ranking.ranker import Ranker
from pipeline.ranking.ridge import Floats
from pipeline.ranking.statistics import (
    Bootstrap,
    Estimate,
    expected_best,
    kendall_tau,
    rank_statistics,
    tau_difference,
    tau_estimate,
)
from pipeline.ranking.weighted import KendallTree, resample_weights
from pipeline.spaces.architecture import Architecture

RANKERS: tuple[tuple[Part, ...], ...] = (
    ("size",),
    ("options",),
    ("size", "totals"),
    ("size", "totals", "options"),
    ("score", "size"),
    ("score", "size", "totals", "options"),
)
RESAMPLES = 1000


@dataclass(frozen=True)
class Seed:
    """What one seed has produced: file name -> document, and the networks that are ranked and labelled."""

    name: str
    files: dict[str, Any]
    ranked: list[Architecture]
    truth: Floats
    labelled: list[Architecture]
    labels: Floats
    label_truth: Floats

    @classmethod
    def read(cls, folder: Path, truth: Truth) -> "Seed":
        """Everything in the folder of a seed."""
        files = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
        accuracy = {str(arch): float(value) for arch, value in zip(truth.archs, truth.accuracy, strict=True)}
        labels = files.get("labels", {"scores": {}})["scores"]
        scale = files["oneshot"]["scale"]
        ranked, labelled = drawn(truth, scale["networks"], scale["labels"])
        return cls(
            folder.name,
            files,
            ranked,
            np.array([accuracy[str(arch)] for arch in ranked]),
            labelled,
            np.array([-labels[str(arch)][1] for arch in labelled if str(arch) in labels]),
            np.array([accuracy[str(arch)] for arch in labelled]),
        )

    def scores(self, name: str, archs: Sequence[Architecture]) -> Floats:
        """Minus the cross-entropy by a variant."""
        found = self.files[name]["scores"]
        return np.array([-found[str(arch)][1] for arch in archs])

    def regions(self, name: str, archs: Sequence[Architecture]) -> list[int]:
        """The region of each network in a variant."""
        return [self.files[name]["regions"][str(arch)] for arch in archs]

    @property
    def fewshot(self) -> list[str]:
        """The variants with regions that are there."""
        return [name for name in VARIANTS if name in self.files]


def size_of(archs: Sequence[Architecture]) -> dict[str, Floats]:
    """MACs and parameters."""
    blocks = [SPACE.blocks(arch) for arch in archs]
    return {
        "MACs": np.array([float(total_macs(b)) for b in blocks]),
        "parameters": np.array([float(total_params(b)) for b in blocks]),
    }


def rankings(seed: Seed) -> dict[str, tuple[Floats, str]]:
    """Each way to rank: its values for the ranked networks, and the way it is compared with ("" for none)."""
    macs = size_of(seed.ranked)
    rows: dict[str, tuple[Floats, str]] = {name: (values, "") for name, values in macs.items()}
    for name in ("root", "oneshot", *seed.fewshot):
        if name not in seed.files:
            continue
        raw = seed.scores(name, seed.ranked)
        rows[name] = raw, "" if name == "oneshot" else "oneshot"
        if name in seed.fewshot:
            for reference, what in (("border", "root"), ("labels", "labels")):
                if reference in seed.files:
                    rows[f"{name}, calibrated by {what}"] = calibrated(seed, name, reference), "oneshot"
        if f"{name}-top" in seed.files:
            rows[f"{name}, top tuned privately"] = top_tuned(seed, name), "oneshot, top tuned privately"
        rows[f"{name} and MACs, equal ranks"] = places(raw) + places(macs["MACs"]), "oneshot and MACs, equal ranks"
        prior, where = believed(seed, name), seed.regions(name, seed.ranked)
        columns = prior.columns(seed.ranked, raw.tolist(), where)
        rows[f"{name}, smoothed"] = columns[:, 1], "oneshot, smoothed"
        rows[f"{name}, prior (no labels)"] = prior(seed.ranked, raw.tolist(), where), "oneshot, prior (no labels)"
        if len(seed.labels):
            rows[f"{name}, product's ranker"] = learned(seed, name, PARTS, prior=True), "oneshot, product's ranker"
    return rows


def parts_of_the_ranker(seed: Seed) -> dict[str, tuple[Floats, str]]:
    """The one-shot supernet's ranker with fewer parts."""
    rows = {" + ".join(parts): (learned(seed, "oneshot", parts), "") for parts in RANKERS}
    rows["prior + score + size + totals + options"] = learned(seed, "oneshot", PARTS, prior=True), ""
    rows["prior alone (no labels)"] = (
        believed(seed, "oneshot")(seed.ranked, seed.scores("oneshot", seed.ranked).tolist(), [0] * len(seed.ranked)),
        "",
    )
    return rows


def calibrated(seed: Seed, name: str, reference: str) -> Floats:
    """Scores of a variant with each region's mean set by a reference on the labelled networks."""
    known = seed.labels if reference == "labels" else seed.scores(reference, seed.labelled)
    where = seed.regions(name, seed.labelled)
    fitted = calibrate(seed.scores(name, seed.labelled).tolist(), known.tolist(), where, max(where) + 1)
    return np.array(fitted(seed.scores(name, seed.ranked).tolist(), seed.regions(name, seed.ranked)))


def learned(seed: Seed, name: str, parts: tuple[Part, ...], prior: bool = False) -> Floats:
    """The ranked networks' predictions by a ranker with `parts` that learned from the labels."""
    features = Features(SPACE, 1 + max(seed.regions(name, seed.labelled)), parts)
    known, asked = seed.labelled, seed.ranked
    scores, where = seed.scores(name, known).tolist(), seed.regions(name, known)
    ranker = Ranker.fit(features, known, scores, where, seed.labels.tolist(), believed(seed, name) if prior else None)
    return ranker(asked, seed.scores(name, asked).tolist(), seed.regions(name, asked))


def believed(seed: Seed, name: str) -> Prior:
    """What is believed before any label, from all judged networks."""
    judged = [*seed.ranked, *seed.labelled]
    where = seed.regions(name, judged)
    return Prior.learn(SPACE, 1 + max(where), judged, seed.scores(name, judged).tolist(), where)


def top_tuned(seed: Seed, name: str) -> Floats:
    """The order of a variant with its first networks put in the order of their private fine-tunes."""
    order = np.argsort(-seed.scores(name, seed.ranked), kind="stable").tolist()
    tuned = seed.files[f"{name}-top"]["scores"]
    private = [-tuned[str(seed.ranked[i])][1] for i in order[: len(tuned)]]
    values = np.empty(len(order))
    values[reranked(order, private)] = -np.arange(len(order))
    return values


def places(values: Floats) -> Floats:
    """Standardised ranks."""
    ranks = np.argsort(np.argsort(values)).astype(float)
    return np.asarray((ranks - ranks.mean()) / ranks.std())


def table(seeds: list[Seed], rows: list[dict[str, tuple[Floats, str]]], reference: str) -> list[str]:
    """One line for each way to rank that all seeds have; differences to its reference and to MACs."""
    names = [name for name in rows[0] if all(name in row for row in rows)]
    truth = seeds[0].truth
    weights = resample_weights(len(truth), RESAMPLES, np.random.default_rng(0))
    ones = np.ones((1, len(truth)))
    macs = KendallTree(size_of(seeds[0].ranked)["MACs"], truth)
    trees = {name: [KendallTree(row[name][0], truth) for row in rows] for name in names}
    exact = {name: np.array([float(tree.tau(ones)[0]) for tree in trees[name]]) for name in names}
    drawn_taus = {name: np.mean([tree.tau(weights) for tree in trees[name]], axis=0) for name in names}
    macs_exact, macs_drawn = float(macs.tau(ones)[0]), macs.tau(weights)
    lines = [
        f"| ranked by | tau [95 %] | of each seed | {reference} | minus MACs [95 %] | Spearman | P@10 % |"
        f" best in top 10 (random {expected_best(truth, 10):.2f}) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        other = rows[0][name][1]
        against = ""
        if other and other != name and other in exact:
            against = interval(exact[name].mean() - exact[other].mean(), drawn_taus[name] - drawn_taus[other])
        found = [rank_statistics(truth, row[name][0], Bootstrap(1), (10,)) for row in rows]
        lines.append(
            f"| {name} | {interval(exact[name].mean(), drawn_taus[name])} |"
            f" {', '.join(f'{value:.3f}' for value in exact[name])} | {against} |"
            f" {interval(exact[name].mean() - macs_exact, drawn_taus[name] - macs_drawn)} |"
            f" {mean([f.spearman.value for f in found]):.3f} |"
            f" {mean([f.precision_at_10_percent.value for f in found]):.2f} |"
            f" {mean([f.best_in_top_k[10].value for f in found]):.2f} |"
        )
    return lines


def inside_regions(seed: Seed) -> list[str]:
    """The child against one-shot, region by region."""
    lines = []
    for name in seed.fewshot:
        where = np.array(seed.regions(name, seed.ranked))
        child, one = seed.scores(name, seed.ranked), seed.scores("oneshot", seed.ranked)
        for region in sorted(set(where.tolist())):
            own = np.flatnonzero(where == region)
            taus = [kendall_tau(seed.truth[own], values[own]) or 0.0 for values in (one, child)]
            difference = shown(tau_difference(seed.truth[own], child[own], one[own], Bootstrap(RESAMPLES)))
            lines.append(
                f"| {seed.name} | {name} | {region} | {len(own)} | {taus[0]:.3f} | {taus[1]:.3f} | {difference} |"
            )
    return lines


def inside_tops(seed: Seed) -> list[str]:
    """What a private fine-tune does to the order of the networks that a variant ranks first."""
    accuracy = {str(arch): value for arch, value in zip(seed.ranked, seed.truth.tolist(), strict=True)}
    lines = []
    for name in ("oneshot", *seed.fewshot):
        if f"{name}-top" not in seed.files:
            continue
        tuned = seed.files[f"{name}-top"]["scores"]
        before = np.array([-seed.files[name]["scores"][arch][1] for arch in tuned])
        after = np.array([-tuned[arch][1] for arch in tuned])
        true = np.array([accuracy[arch] for arch in tuned])
        taus = [shown(tau_estimate(values, true, Bootstrap(RESAMPLES))) for values in (before, after)]
        lines.append(
            f"| {seed.name} | {name} | {len(true)} | {taus[0]} | {taus[1]} |"
            f" {true[before.argmax()]:.2f} / {true[after.argmax()]:.2f} |"
        )
    return lines


def prunings(seed: Seed) -> list[str]:
    """What is left of the networks when the worst options by one-shot score are dropped."""
    lines = []
    for drop in (1, 2, 4):
        found = pruning(SPACE, seed.ranked, seed.scores("oneshot", seed.ranked).tolist(), seed.truth, drop)
        lines.append(
            f"| {seed.name} | {', '.join(found.dropped)} | {found.kept:.0%} | {found.kept_of_best_tenth:.0%} |"
            f" {found.mean_truth:.2f} / {found.mean_truth_kept:.2f} |"
        )
    return lines


def label_quality(seed: Seed) -> str:
    """How well the labels and the inherited scores of the same networks agree with the truth."""
    one = seed.scores("oneshot", seed.labelled)
    taus = [shown(tau_estimate(values, seed.label_truth, Bootstrap(RESAMPLES))) for values in (seed.labels, one)]
    better = shown(tau_difference(seed.label_truth, seed.labels, one, Bootstrap(RESAMPLES)))
    correlation = np.corrcoef(seed.labels, -np.log(100 - seed.label_truth))[0, 1]
    return (
        f"- {seed.name}: {len(seed.labels)} labels agree with the truth: tau {taus[0]} (correlation with -log of the"
        f" error {correlation:.2f}), inherited scores of the same networks with {taus[1]}; difference {better}."
    )


def interval(value: float, resampled: Floats) -> str:
    """0.512 [0.440, 0.580]."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def shown(estimate: Estimate) -> str:
    """The same of an estimate."""
    if estimate.value is None:
        return "undefined"
    return f"{estimate.value:.3f}" + ("" if estimate.low is None else f" [{estimate.low:.3f}, {estimate.high:.3f}]")


def mean(values: Sequence[float | None]) -> float:
    """Of what is defined."""
    return float(np.mean([value for value in values if value is not None]))


def main() -> None:
    """Print the tables."""
    parser = common.parser(__doc__)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    truth = read_truth()
    folders = sorted(folder for folder in given.work.glob("seed*") if (folder / "oneshot.json").is_file())
    seeds = [Seed.read(folder, truth) for folder in folders]
    if not seeds:
        raise SystemExit(f"no seed in {given.work} has scores yet")
    out = [f"{len(seeds)} seeds, {len(seeds[0].ranked)} networks.\n"]
    out += table(seeds, [rankings(seed) for seed in seeds], "minus one-shot's same way [95 %]")
    out += ["\nParts of the ranker (one-shot scores):\n"]
    labelled = [seed for seed in seeds if len(seed.labels)]
    if labelled:
        out += table(labelled, [parts_of_the_ranker(seed) for seed in labelled], "")
    out += ["", *(label_quality(seed) for seed in labelled)]
    out += ["\n| seed | split | region | n | one-shot tau | child tau | difference [95 %] |", "|---" * 7 + "|"]
    out += [line for seed in seeds for line in inside_regions(seed)]
    out += ["\n| seed | top K by | K | tau before | tau after private fine-tune | truth of rank 1 before / after |"]
    out += ["|---" * 6 + "|", *(line for seed in seeds for line in inside_tops(seed))]
    out += ["\n| seed | options dropped | networks kept | of the best tenth kept | mean truth before / after |"]
    out += ["|---" * 5 + "|", *(line for seed in seeds for line in prunings(seed))]
    for seed in seeds:
        cost = {name: file["cpu_seconds"] for name, file in sorted(seed.files.items()) if "cpu_seconds" in file}
        spent = ", ".join(f"{name} {seconds:.0f}" for name, seconds in cost.items())
        out.append(f"\n{seed.name}: CPU seconds of scoring and labelling: {spent}.")
    print("\n".join(out))


if __name__ == "__main__":
    main()
