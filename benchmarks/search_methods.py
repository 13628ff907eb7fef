"""Search methods side by side on problems with known answers, in evaluations and seconds.

    python benchmarks/search_methods.py --out DIR [--benchmarks A,B] [--methods guided,rea,random] [--seeds 20]
                                        [--evaluations N] [--report]

Each run (benchmark, method, seed) is one line in DIR/runs.jsonl, so that a stopped benchmark continues. `--report`
prints Markdown tables of all runs in DIR and draws DIR/<benchmark>.svg: median best-so-far against evaluations.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from plot import Curve, line_plot
from search_spaces import BENCHMARKS, OFA_BEST_KNOWN, Benchmark

from pipeline.search.bulk import propose_in_batches
from pipeline.search.candidates import keys
from pipeline.search.samplers import SAMPLERS, History

MARKS = (25, 50, 100, 200, 300, 500, 1000, 2000, 5000, 10_000)


def main() -> None:
    """Run what is missing, or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--benchmarks", default=",".join(n for n in BENCHMARKS if not n.startswith("ofa") and "shot" not in n)
    )
    parser.add_argument("--methods", default=",".join(SAMPLERS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--evaluations", type=int, help="fewer than the benchmark gives")
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.report:
        report(given.out)
        return
    done = {(run["benchmark"], run["method"], run["seed"]) for run in read_runs(given.out)}
    for name in given.benchmarks.split(","):
        benchmark = BENCHMARKS[name]()
        for seed in range(given.seeds):
            for method in given.methods.split(","):
                if (name, method, seed) in done:
                    continue
                run = run_once(benchmark, method, seed, given.evaluations or benchmark.evaluations)
                with (given.out / "runs.jsonl").open("a") as stream:
                    stream.write(json.dumps(run) + "\n")
                print(f"{name} {method} seed {seed}: {run['reached'] or 'not reached'}", file=sys.stderr)


def run_once(benchmark: Benchmark, method: str, seed: int, evaluations: int) -> dict[str, object]:
    """One search; the record of what it had found when, and what the proposals took."""
    sampler = SAMPLERS[method](benchmark.problem, seed)  # type: ignore[index]
    started = time.process_time()
    if benchmark.name.startswith("ofa"):
        found = propose_in_batches(sampler, benchmark.score, evaluations, seed)
        codes, scores = found.codes, found.scores
    else:
        codes = np.empty((0, len(benchmark.problem.space.cardinalities)), dtype=np.uint8)
        scores = np.empty(0)
        while len(codes) < evaluations:
            history = History(codes, scores, np.ones(len(codes), dtype=bool), frozenset(keys(codes)))
            row = sampler.next(history, np.random.default_rng([seed, 2, len(codes), 0]))[None]
            codes, scores = np.concatenate([codes, row]), np.concatenate([scores, benchmark.score(row)])
            if benchmark.score is benchmark.truth and scores[-1] >= benchmark.goal + 0.1 - 1e-9:
                break  # the optimum: nothing better is left
    seconds = time.process_time() - started
    best = np.maximum.accumulate(benchmark.truth(codes))
    hits = np.flatnonzero(best >= benchmark.goal)
    record: dict[str, object] = {
        "benchmark": benchmark.name,
        "method": method,
        "seed": seed,
        "reached": int(hits[0]) + 1 if len(hits) else None,
        "evaluations": evaluations,
        "seconds": round(seconds, 2),
        "best_at": {
            str(mark): round(float(best[min(mark, len(best)) - 1]), 4) for mark in MARKS if mark <= evaluations
        },
    }
    if benchmark.score is not benchmark.truth:
        order = np.argsort(-scores, kind="stable")
        truth = benchmark.truth(codes[order[:10]])
        record["worth"] = {"best": float(truth[0]), "best of top 10": float(truth.max())}
    if benchmark.name in OFA_BEST_KNOWN:
        near = np.flatnonzero(best >= OFA_BEST_KNOWN[benchmark.name] - 0.05)
        record["reached_best_known"] = int(near[0]) + 1 if len(near) else None
    return record


def read_runs(folder: Path) -> list[dict[str, object]]:
    """The runs that `folder` holds."""
    file = folder / "runs.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def report(folder: Path) -> None:
    """Markdown tables on stdout, one plot per benchmark in `folder`."""
    groups = defaultdict(lambda: defaultdict(list))  # type: ignore[var-annotated]
    for run in read_runs(folder):
        groups[run["benchmark"]][run["method"]].append(run)
    for name, methods in groups.items():
        if any("worth" in run for runs in methods.values() for run in runs):
            report_worth(name, methods)
            continue
        longest = max(run["evaluations"] for runs in methods.values() for run in runs)
        marks = [mark for mark in MARKS if mark <= longest]
        print(f"\n### {name}\n")
        print(
            "| method | seeds | to the goal: median (q25, q75) | reached | "
            + " | ".join(f"best at {m}" for m in marks),
            end="",
        )
        print(" | best known − 0.05: median, reached | CPU s a run |" if name in OFA_BEST_KNOWN else " | CPU s a run |")
        print("|---" * (len(marks) + (6 if name in OFA_BEST_KNOWN else 5)) + "|")
        curves = []
        for method, runs in methods.items():
            best = [np.median([run["best_at"][str(m)] for run in runs]) for m in marks]
            curves.append(Curve(method, marks, [float(value) for value in best]))
            cells = [method, str(len(runs)), *_reached(runs, "reached"), *(f"{value:.3f}" for value in best)]
            if name in OFA_BEST_KNOWN:
                cells.append(", ".join(_reached(runs, "reached_best_known")))
            cells.append(f"{np.median([run['seconds'] for run in runs]):.1f}")
            print("| " + " | ".join(cells) + " |")
        title = f"{name}: median best so far, {max(map(len, methods.values()))} seeds"
        (folder / f"{name}.svg").write_text(line_plot(title, "evaluations", "accuracy, %", curves))


def report_worth(name: str, methods: dict[str, list[dict[str, object]]]) -> None:
    """What the networks are truly worth that a search by a supernet's scores ends with."""
    print(f"\n### {name}\n")
    print(
        "| method | seeds | true accuracy of the best by score: median (q25, q75) | best true accuracy in its top 10 |"
    )
    print("|---|---|---|---|")
    for method, runs in methods.items():
        cells = [method, str(len(runs))]
        for key in ("best", "best of top 10"):
            middle, low, high = np.quantile([run["worth"][key] for run in runs], [0.5, 0.25, 0.75])  # type: ignore[index]
            cells.append(f"{middle:.2f} ({low:.2f}, {high:.2f})")
        print("| " + " | ".join(cells) + " |")


def _reached(runs: list[dict[str, object]], key: str) -> tuple[str, str]:
    limit = max(run["evaluations"] for run in runs)  # type: ignore[type-var]
    values = sorted(run[key] or limit + 1 for run in runs)  # type: ignore[type-var, operator]
    shown = [f"{v:.0f}" if v <= limit else f">{limit}" for v in np.quantile(values, [0.5, 0.25, 0.75])]
    return f"{shown[0]} ({shown[1]}, {shown[2]})", f"{sum(run[key] is not None for run in runs)}/{len(runs)}"


if __name__ == "__main__":
    main()
