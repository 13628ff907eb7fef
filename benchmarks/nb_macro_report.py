"""The tables of docs/results/fewshot.md from what `nb_macro_fewshot.py` has left so far.

python benchmarks/nb_macro_report.py --work DIR [--json FILE]
"""

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nb_macro_data import SPACE, Truth, drawn, read_truth
from nb_macro_fewshot import VARIANTS

from latency_tables.blocks import total_macs, total_params
from pipeline.fewshot.calibration import calibrate
from pipeline.fewshot.ranker import Features, Part, Ranker
from pipeline.fewshot.ridge import Floats
from pipeline.rank.statistics import Bootstrap, Estimate, kendall_tau, rank_statistics, tau_difference, tau_estimate
from pipeline.spaces.architecture import Architecture

NAMES = ("root", "oneshot", *(variant[0] for variant in VARIANTS))
RANKERS: tuple[tuple[Part, ...], ...] = (
    ("size",),
    ("options",),
    ("size", "totals"),
    ("size", "totals", "options"),
    ("score", "size"),
    ("score", "size", "totals", "options"),
    ("score", "size", "totals", "options", "region"),
)
BOOTSTRAP = Bootstrap(1000)


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

    def scores(self, name: str, archs: list[Architecture]) -> Floats:
        """Minus the cross-entropy by a variant."""
        found = self.files[name]["scores"]
        return np.array([-found[str(arch)][1] for arch in archs])

    def regions(self, name: str, archs: list[Architecture]) -> list[int]:
        """The region of each network in a variant."""
        return [self.files[name]["regions"][str(arch)] for arch in archs]


def alone(seed: Seed, out: list[str]) -> None:
    """Each score by itself, beside size."""
    macs = np.array([float(total_macs(SPACE.blocks(arch))) for arch in seed.ranked])
    params = np.array([float(total_params(SPACE.blocks(arch))) for arch in seed.ranked])
    oneshot = seed.scores("oneshot", seed.ranked)
    rows = [("MACs", macs), ("parameters", params)]
    rows += [(name, seed.scores(name, seed.ranked)) for name in NAMES if name in seed.files]
    accuracy = seed.files["oneshot"]["scores"]
    rows.append(("oneshot, by accuracy", np.array([accuracy[str(arch)][0] for arch in seed.ranked])))
    out += [
        f"\n{seed.name}, {len(seed.ranked)} networks, scores alone:\n",
        "| ranker | tau [95 %] | minus one-shot [95 %] | Spearman | P@10 % | best in top 10 (random) | tau with MACs |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, values in rows:
        found = rank_statistics(seed.truth, values, BOOTSTRAP, (10,), {"macs": macs})
        difference = tau_difference(seed.truth, values, oneshot, BOOTSTRAP)
        out.append(
            f"| {name} | {shown(found.kendall_tau)} | {shown(difference)} | {found.spearman.value:.3f} |"
            f" {found.precision_at_10_percent.value:.2f} | {found.best_in_top_k[10].value:.2f}"
            f" ({found.random_best_in_top_k[10]:.2f}) | {found.tau_with_size['macs'].value:.2f} |"
        )


def regions(seed: Seed, out: list[str]) -> None:
    """Inside each region: the child against one-shot."""
    out += ["\nInside the regions:\n", "| split | region | n | one-shot tau | child tau | difference [95 %] |"]
    out.append("|---|---|---|---|---|---|")
    for name in NAMES[2:]:
        if name not in seed.files:
            continue
        where = np.array(seed.regions(name, seed.ranked))
        child, one = seed.scores(name, seed.ranked), seed.scores("oneshot", seed.ranked)
        for region in sorted(set(where.tolist())):
            own = np.flatnonzero(where == region)
            difference = tau_difference(seed.truth[own], child[own], one[own], BOOTSTRAP)
            taus = [kendall_tau(seed.truth[own], values[own]) or 0.0 for values in (one, child)]
            out.append(f"| {name} | {region} | {len(own)} | {taus[0]:.3f} | {taus[1]:.3f} | {shown(difference)} |")


def calibrated(seed: Seed, name: str, reference: str) -> Floats:
    """Scores of a variant with each region's mean set by a reference on the labelled networks."""
    labelled = seed.labelled
    known = seed.labels if reference == "labels" else seed.scores(reference, labelled)
    where = seed.regions(name, labelled)
    fitted = calibrate(seed.scores(name, labelled).tolist(), known.tolist(), where, max(where) + 1)
    return np.array(fitted(seed.scores(name, seed.ranked).tolist(), seed.regions(name, seed.ranked)))


def calibrations(seed: Seed, out: list[str]) -> None:
    """What calibration between regions changes."""
    references = [r for r in ("root", "labels") if r in seed.files and (r != "labels" or len(seed.labels))]
    if not references:
        return
    out.append("\nCalibration between regions (change of tau against the raw scores, 95 %):\n")
    out += ["| split | " + " | ".join(f"by {r}" for r in references) + " |", "|---" * (1 + len(references)) + "|"]
    for name in NAMES[2:]:
        if name in seed.files:
            raw = seed.scores(name, seed.ranked)
            cells = [shown(tau_difference(seed.truth, calibrated(seed, name, r), raw, BOOTSTRAP)) for r in references]
            out.append(f"| {name} | " + " | ".join(cells) + " |")


def rankers(seed: Seed, out: list[str]) -> None:
    """The product's ranker, each part alone and together, on every variant's scores."""
    if len(seed.labels) < 8:
        return
    macs = np.array([float(total_macs(SPACE.blocks(arch))) for arch in seed.ranked])
    tuned = tau_estimate(seed.labels, seed.label_truth, BOOTSTRAP)
    inherited = tau_estimate(seed.scores("oneshot", seed.labelled), seed.label_truth, BOOTSTRAP)
    out += [
        f"\n{seed.name}: {len(seed.labels)} labels by private fine-tune from one-shot; tau of the labels with"
        f" the truth {shown(tuned)}, of the inherited scores of the same networks {shown(inherited)}.\n",
        "| score of | parts | tau [95 %] | minus MACs [95 %] | P@10 % | best in top 10 |",
        "|---|---|---|---|---|---|",
    ]
    done: set[tuple[Part, ...]] = set()
    for name in NAMES:
        if name not in seed.files:
            continue
        for parts in RANKERS:
            again = "score" not in parts and parts in done
            if again or ("region" in parts and name in ("root", "oneshot")):
                continue
            done.add(parts)
            values = ranked_by(seed, name, parts)
            found = rank_statistics(seed.truth, values, BOOTSTRAP, (10,))
            difference = tau_difference(seed.truth, values, macs, BOOTSTRAP)
            out.append(
                f"| {name if 'score' in parts else '-'} | {' + '.join(parts)} | {shown(found.kendall_tau)} |"
                f" {shown(difference)} | {found.precision_at_10_percent.value:.2f} |"
                f" {found.best_in_top_k[10].value:.2f} |"
            )


def ranked_by(seed: Seed, name: str, parts: tuple[Part, ...]) -> Floats:
    """The ranked networks' predictions by a ranker with `parts` that learned from the labels."""
    features = Features(SPACE, 1 + max(seed.regions(name, seed.labelled)), parts)
    known, asked = seed.labelled, seed.ranked
    ranker = Ranker.fit(
        features, known, seed.scores(name, known).tolist(), seed.regions(name, known), seed.labels.tolist()
    )
    return ranker(asked, seed.scores(name, asked).tolist(), seed.regions(name, asked))


def tops(seed: Seed, out: list[str]) -> None:
    """What a private fine-tune does to the order of the networks that a variant ranks first."""
    rows = [name for name in NAMES if f"{name}-top" in seed.files]
    if not rows:
        return
    accuracy = {str(arch): value for arch, value in zip(seed.ranked, seed.truth.tolist(), strict=True)}
    out += ["\nInside the top K by each score, before and after a private fine-tune:\n"]
    out += ["| score of | K | tau before | tau after | truth of rank 1 before / after |", "|---|---|---|---|---|"]
    for name in rows:
        tuned = seed.files[f"{name}-top"]["scores"]
        before = np.array([-seed.files[name]["scores"][arch][1] for arch in tuned])
        after = np.array([-tuned[arch][1] for arch in tuned])
        true = np.array([accuracy[arch] for arch in tuned])
        out.append(
            f"| {name} | {len(true)} | {shown(tau_estimate(before, true, BOOTSTRAP))} |"
            f" {shown(tau_estimate(after, true, BOOTSTRAP))} |"
            f" {true[before.argmax()]:.2f} / {true[after.argmax()]:.2f} |"
        )


def shown(estimate: Estimate) -> str:
    """0.512 [0.44, 0.58]."""
    if estimate.value is None:
        return "undefined"
    interval = "" if estimate.low is None else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.3f}{interval}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("POCKETNAS_SHARED_DATA", default)))
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    truth = read_truth(given.shared)
    out: list[str] = []
    for folder in sorted(given.work.glob("seed*")):
        if not (folder / "oneshot.json").is_file():
            continue
        seed = Seed.read(folder, truth)
        for part in (alone, regions, calibrations, rankers, tops):
            part(seed, out)
        cost = {name: file["cpu_seconds"] for name, file in sorted(seed.files.items()) if "cpu_seconds" in file}
        spent = ", ".join(f"{name} {seconds:.0f}" for name, seconds in cost.items())
        out.append(f"\nCPU seconds of scoring and labelling: {spent}.")
    print("\n".join(out))


if __name__ == "__main__":
    main()
