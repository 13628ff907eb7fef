"""How fast a search is: costing, proposals, and the bulk engine against Once-for-All's own finder.

    python -m benchmarks.search.speed [--once-for-all FOLDER] [--out FILE.json]

FOLDER is a checkout of github.com/mit-han-lab/once-for-all (it is run as it is, from there). All figures are CPU
seconds of one thread; the two finders take turns in one process, with the same predictor and the same tables.
"""

import importlib.util
import json
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.search.problems import OFA_RESOLUTIONS, ofa
from latency_tables.importers.keyed import read_figures
from pipeline.search.candidates import keys
from pipeline.search.engine import evolve
from pipeline.search.samplers import SAMPLERS, History

LIMIT_MS = 20
TRIALS = 2000
PROPOSALS = 100


def main() -> None:
    """Measure and print one JSON document."""
    parser = common.parser(__doc__)
    parser.add_argument("--once-for-all", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    figures: dict[str, Any] = {"costing_per_s": costing(), "proposal_ms_from_2000_trials": proposals()}
    if given.once_for_all is not None:
        figures["engine"] = engine_against_finder(given.once_for_all)
    text = json.dumps(figures, indent=1, sort_keys=True)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n")


def costing() -> dict[str, float]:
    """Candidates costed and filtered per second: one additive table, and the three costs of a budget."""
    from pipeline.budget import read_budget
    from pipeline.search.costs import space_costs

    problem = ofa(LIMIT_MS).problem
    space = problem.space.space  # type: ignore[attr-defined]
    codes = problem.space.sample(1_000_000, np.random.default_rng(0))
    one = space_costs(space, read_budget({"macs": "300M"}), {})
    both = space_costs(space, read_budget({"macs": "300M", "params": "6M"}), {})
    return {
        "one limit": round(len(codes) / common.best_seconds(lambda: one.feasible(codes))),
        "two limits": round(len(codes) / common.best_seconds(lambda: both.feasible(codes))),
    }


def proposals() -> dict[str, dict[str, float]]:
    """Milliseconds of a proposal from 2,000 judged networks on, per method: the mean of 100 in a row, in which
    methods learn anew as often as they do, and the median and the longest of them."""
    benchmark = ofa(LIMIT_MS)
    drawn = benchmark.problem.random(TRIALS, np.random.default_rng(0))
    order = np.argsort(benchmark.score(drawn))  # a search that keeps improving: nothing is forgotten, which is slowest
    figures = {}
    for name, method in SAMPLERS.items():
        sampler = method(benchmark.problem, 0)
        codes = drawn[order]
        times = []
        for number in range(-1, PROPOSALS):
            scores = benchmark.score(codes)
            history = History(codes, scores, np.ones(len(codes), dtype=bool), frozenset(keys(codes)))
            started = time.process_time()
            row = sampler.next(history, np.random.default_rng([number + 1, 0]))
            times.append(1000 * (time.process_time() - started))
            codes = np.concatenate([codes, row[None]])
        del times[0]  # the first one builds what lasts
        figures[name] = {
            "mean": round(float(np.mean(times)), 1),
            "median": round(float(np.median(times)), 1),
            "longest": round(max(times), 1),
        }
        print(f"{name}: {figures[name]}", file=sys.stderr)
    return figures


def engine_against_finder(folder: Path) -> dict[str, Any]:
    """Distinct candidates per CPU second of both, in turns, and what each ends with."""
    benchmark = ofa(LIMIT_MS)
    rounds = []
    for seed in range(3):
        scored, seconds, best = run_finder(folder, seed)
        peer = {"scored": len(scored), "distinct": len(set(scored)), "seconds": seconds, "best": best}
        started = time.process_time()
        found = evolve(benchmark.score, benchmark.problem, np.random.default_rng(seed), generations=60, population=1000)
        mine = {"distinct": found.scored, "seconds": time.process_time() - started, "best": float(found.scores[0])}
        ratio = mine["distinct"] / mine["seconds"] / (peer["distinct"] / peer["seconds"])
        rounds.append({"once-for-all": peer, "engine": mine, "ratio_of_distinct_per_s": round(ratio, 1)})
        print(json.dumps(rounds[-1]), file=sys.stderr)
    return {"rounds": rounds, "median_ratio": float(np.median([r["ratio_of_distinct_per_s"] for r in rounds]))}


def run_finder(folder: Path, seed: int) -> tuple[list[bytes], float, float]:
    """Once-for-All's finder as published: canonical keys of all it scored, CPU seconds, best predicted top-1."""
    import random

    import torch

    torch.set_num_threads(1)
    stub_dependencies()
    finder_module = load(folder / "ofa/tutorial/evolution_finder.py")
    table_module = load(folder / "ofa/tutorial/latency_table.py")
    predictor_module = load(folder / "ofa/tutorial/accuracy_predictor.py")
    table = table_module.LatencyTable.__new__(table_module.LatencyTable)
    table.latency_tables = {
        r: table_module.LatencyEstimator(url=str(common.SHARED / f"latency_luts/ofa_note10_{r}.yaml"))
        for r in OFA_RESOLUTIONS
    }
    predictor = predictor_module.AccuracyPredictor(pretrained=False, device="cpu")
    weights = np.load(common.SHARED / "ofa_mbv3_accuracy_predictor.npz")
    layers = [layer for layer in predictor.model if isinstance(layer, torch.nn.Linear)]
    for number, layer in enumerate(layers):
        layer.weight.data = torch.from_numpy(weights[f"W{number}"])
        layer.bias.data = torch.from_numpy(weights[f"b{number}"])
    scored: list[dict[str, Any]] = []
    inner = predictor.predict_accuracy

    def counted(population: list[dict[str, Any]]) -> Any:
        scored.extend(population)
        return inner(population)

    predictor.predict_accuracy = counted
    random.seed(seed)
    np.random.seed(seed)
    finder = finder_module.EvolutionFinder("note10", LIMIT_MS, table, predictor)
    started = time.process_time()
    _, best = finder.run_evolution_search()
    seconds = time.process_time() - started
    return [canonical(sample) for sample in scored], seconds, 100 * float(best[0])


def canonical(sample: dict[str, Any]) -> bytes:
    """The finder's candidate without what its depths leave unused."""
    used = [layer < sample["d"][stage] for stage in range(5) for layer in range(4)]
    genes = [(k, e) if u else (0, 0) for k, e, u in zip(sample["ks"], sample["e"], used, strict=True)]
    return repr((sample["r"], sample["d"], genes)).encode()


def stub_dependencies() -> None:
    """What the finder's modules import but do not need here: a downloader, PyYAML's old `load`, a progress bar."""
    ofa_package, utils, yaml, tqdm = (types.ModuleType(name) for name in ("ofa", "ofa.utils", "yaml", "tqdm"))
    utils.download_url = None  # type: ignore[attr-defined]
    yaml.load = lambda stream: {  # type: ignore[attr-defined]
        key: {"mean": figure.mean_ms} for key, figure in read_figures(Path(stream.name)).items()
    }
    tqdm.tqdm = lambda steps, **_: steps  # type: ignore[attr-defined]
    sys.modules.update({"ofa": ofa_package, "ofa.utils": utils, "yaml": yaml, "tqdm": tqdm})


def load(file: Path) -> types.ModuleType:
    """The module in `file`, by itself."""
    spec = importlib.util.spec_from_file_location(f"peer_{file.stem}", file)
    if spec is None or spec.loader is None or not file.exists():
        raise SystemExit(f"{file} is missing: --once-for-all takes a checkout of mit-han-lab/once-for-all")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
