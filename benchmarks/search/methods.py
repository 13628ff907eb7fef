"""Search methods side by side on problems with known answers, in evaluations and seconds.

    python -m benchmarks.search.methods --out DIR [--benchmarks A,B] [--methods guided,rea,random] [--seeds 20]
                                        [--evaluations N] [--report]

Each run (benchmark, method, seed) is one line in DIR/runs.jsonl, so that a stopped benchmark continues. A line tells
of which version of the search's code it is; lines of other versions are passed over. `--report` prints Markdown tables
of all runs in DIR and draws DIR/search.svg: median best-so-far against evaluations. Benchmarks with `oneshot` or
`fewshot` in their names are searched by published scores of supernets, and tell what the found network is truly worth.
"""

import functools
import hashlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import pipeline.search
import pipeline.spaces
from benchmarks import common
from benchmarks.plot import COLOURS, Curve, line_plot, side_by_side
from benchmarks.search.batches import propose_in_batches
from benchmarks.search.problems import BENCHMARKS, OFA_BEST_KNOWN, Benchmark
from pipeline.search.candidates import FloatArray, keys
from pipeline.search.samplers import SAMPLERS, History

DRAWN = (5, 7, 10, 15, 20, 25, 35, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 5000, 7000, 10_000)
QUARTILES = (0.25, 0.5, 0.75)
SHOWN = {200: (25, 50, 100, 200), 300: (25, 50, 100, 300), 1000: (50, 100, 200, 1000), 10_000: (100, 500, 2000, 10_000)}

Run = dict[str, Any]


def main() -> None:
    """Run what is missing, or report."""
    parser = common.parser(__doc__)
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


def run_once(benchmark: Benchmark, method: str, seed: int, evaluations: int) -> Run:
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
    record: Run = {
        "code": code_version(benchmark.name, method),
        "benchmark": benchmark.name,
        "method": method,
        "seed": seed,
        "reached": int(hits[0]) + 1 if len(hits) else None,
        "evaluations": evaluations,
        "seconds": round(seconds, 2),
        "best_at": {
            str(mark): round(float(best[min(mark, len(best)) - 1]), 4) for mark in DRAWN if mark <= evaluations
        },
    }
    if benchmark.score is benchmark.truth:
        optimum = np.flatnonzero(best >= benchmark.goal + 0.1 - 1e-9)
        record["reached_optimum"] = int(optimum[0]) + 1 if len(optimum) else None
    else:
        order = np.argsort(-scores, kind="stable")
        truth = benchmark.truth(codes[order[:10]])
        record["worth"] = {"best": float(truth[0]), "best of top 10": float(truth.max())}
    if benchmark.name in OFA_BEST_KNOWN:
        near = np.flatnonzero(best >= OFA_BEST_KNOWN[benchmark.name] - 0.05)
        record["reached_best_known"] = int(near[0]) + 1 if len(near) else None
    return record


@functools.cache
def code_version(benchmark: str, method: str) -> str:
    """A hash of the code that proposes and scores in such a run."""
    own = sys.modules[SAMPLERS[method].__module__].__file__  # type: ignore[index]
    search, spaces = Path(pipeline.search.__path__[0]), Path(pipeline.spaces.__path__[0])
    shared = ["candidates", "encoding", "engine", "packing", "pool", "predictor", "samplers/base"]
    files = [Path(str(own)), Path(__file__).with_name("problems.py"), *sorted(spaces.glob("*.py"))]
    files += [search / f"{name}.py" for name in shared]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def read_runs(folder: Path) -> list[Run]:
    """The runs of this version that `folder` holds."""
    file = folder / "runs.jsonl"
    runs = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [run for run in runs if run["code"] == code_version(run["benchmark"], run["method"])]


@dataclass(frozen=True, slots=True)
class Results:
    """The runs on one benchmark, by method in the order of the product's list."""

    name: str
    runs: Mapping[str, Sequence[Run]]

    @property
    def evaluations(self) -> int:
        """How many each run was given."""
        return max(run["evaluations"] for runs in self.runs.values() for run in runs)

    def medians(self, method: str) -> dict[int, float]:
        """Median best so far by evaluations."""
        runs = self.runs[method]
        return {mark: float(np.median([run["best_at"][str(mark)] for run in runs])) for mark in self.marks}

    @property
    def marks(self) -> tuple[int, ...]:
        """The numbers of evaluations at which the best so far was noted."""
        return tuple(mark for mark in DRAWN if mark <= self.evaluations)

    def reached(self, method: str, key: str) -> tuple[str, str]:
        """Evaluations to a goal as `median (quartiles)`, and in how many runs it was reached."""
        limit = self.evaluations
        values = sorted(run[key] or limit + 1 for run in self.runs[method])
        middle, low, high = (f"{v:.0f}" if v <= limit else f">{limit}" for v in np.quantile(values, [0.5, 0.25, 0.75]))
        return f"{middle} ({low}, {high})", f"{sum(v <= limit for v in values)}/{len(values)}"


def all_results(folder: Path) -> Iterator[Results]:
    """One `Results` per benchmark that was run, in the order of BENCHMARKS."""
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in read_runs(folder):
        groups[run["benchmark"], run["method"]].append(run)
    for name in BENCHMARKS:
        if runs := {method: groups[name, method] for method in SAMPLERS if (name, method) in groups}:
            yield Results(name, runs)


def report(folder: Path) -> None:
    """Markdown tables on stdout; the plot of the searches by true scores in `folder`."""
    results = list(all_results(folder))
    known = [one for one in results if not _by_supernet(one)]
    for one in results:
        print(f"\n### {one.name}\n")
        common.print_table(*(worth_table(one) if _by_supernet(one) else reached_table(one)))
    print("\n### Behind random search\n")
    common.print_table(
        ("method", "median best so far below that of random search (benchmark: at evaluations)"), behind(known)
    )
    plots = [line_plot(one.name, "evaluations", "%", [_curve(one, method) for method in one.runs]) for one in known]
    (folder / "search.svg").write_text(side_by_side(plots, columns=3))


def reached_table(one: Results) -> tuple[list[str], list[list[str]]]:
    """Evaluations to the goals, and the best so far."""
    marks = SHOWN[one.evaluations]
    goals = {"to the goal": "reached"}
    if all("reached_optimum" in run for runs in one.runs.values() for run in runs):
        goals |= {"to the optimum": "reached_optimum"}
    if one.name in OFA_BEST_KNOWN:
        goals = {"to OFA's final value": "reached", "to best known − 0.05": "reached_best_known"}
    head = ["method", *(cell for goal in goals for cell in (f"{goal}: median (quartiles)", "seeds"))]
    head += [*(f"best at {mark}" for mark in marks), "CPU s a run"]
    rows = []
    for method, runs in one.runs.items():
        medians = one.medians(method)
        cells = [cell for key in goals.values() for cell in one.reached(method, key)]
        seconds = float(np.median([run["seconds"] for run in runs]))
        rows.append([method, *cells, *(f"{medians[mark]:.3f}" for mark in marks), f"{seconds:.1f}"])
    return head, rows


def worth_table(one: Results) -> tuple[list[str], list[list[str]]]:
    """What the networks are truly worth that a search by a supernet's scores ends with, beside free choices."""
    head = ["chosen by", "seeds", "true accuracy: median (quartiles)", "best true accuracy among its top 10"]
    rows = []
    for method, runs in one.runs.items():
        cells = []
        for key in ("best", "best of top 10"):
            middle, low, high = np.quantile([run["worth"][key] for run in runs], [0.5, 0.25, 0.75])
            cells.append(f"{middle:.2f} ({low:.2f}, {high:.2f})")
        rows.append([method, str(len(runs)), *cells])
    benchmark = BENCHMARKS[one.name]()
    rows.append(["all feasible networks scored", "-", *_worth_of(benchmark, benchmark.score)])
    rows.append(["most MACs, no score", "-", *_worth_of(benchmark, benchmark.problem.costs["macs"].of)])
    truth = benchmark.truth(benchmark.problem.everything)
    rows.append(["any feasible network", "-", "{1:.2f} ({0:.2f}, {2:.2f})".format(*np.quantile(truth, QUARTILES)), "-"])
    rows.append(["true accuracy (the optimum)", "-", f"{truth.max():.2f}", "-"])
    return head, rows


def _worth_of(benchmark: Benchmark, rank: Callable[..., FloatArray]) -> tuple[str, str]:
    everything = benchmark.problem.everything
    truth = benchmark.truth(everything[np.argsort(-rank(everything), kind="stable")[:10]])
    return f"{truth[0]:.2f}", f"{truth.max():.2f}"


def behind(results: Sequence[Results]) -> list[list[str]]:
    """Where each method's median is below random search's at the same number of evaluations."""
    rows = []
    for method in (name for name in SAMPLERS if name != "random" and any(name in one.runs for one in results)):
        places = []
        for one in results:
            if not {method, "random"} <= one.runs.keys():
                continue
            mine, chance = one.medians(method), one.medians("random")
            if marks := [str(mark) for mark in one.marks if mark >= 25 and mine[mark] < chance[mark] - 1e-9]:
                places.append(f"{one.name}: {', '.join(marks)}")
        rows.append([method, "; ".join(places) or "never"])
    return rows


def _by_supernet(one: Results) -> bool:
    return any("worth" in run for runs in one.runs.values() for run in runs)


def _curve(one: Results, method: str) -> Curve:
    medians = {mark: best for mark, best in one.medians(method).items() if mark >= 10}
    return Curve(method, tuple(medians), tuple(medians.values()), COLOURS[list(SAMPLERS).index(method)])


if __name__ == "__main__":
    main()
