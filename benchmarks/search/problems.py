"""Search problems with known answers, from public measurements. Shared by the search benchmarks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks import common
from latency_tables.importers.registry import import_table
from pipeline.budget import Limit
from pipeline.errors import PipelineError
from pipeline.search.candidates import CandidateSpace, CodeArray, FloatArray, enumerate_codes, keys
from pipeline.search.costs import Cost, Costs
from pipeline.search.pool import FeasibleSpace
from pipeline.spaces.codes import Codes
from pipeline.spaces.cost import AdditiveCost
from pipeline.spaces.files import load_space

NB201_OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
OFA_RESOLUTIONS = (160, 176, 192, 208, 224)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A problem, what scores its candidates, what they are truly worth, and the evaluations it is given.

    A run succeeds when it has found a truth of at least `goal`.
    """

    name: str
    problem: FeasibleSpace
    score: Callable[[CodeArray], FloatArray]
    truth: Callable[[CodeArray], FloatArray]
    goal: float
    evaluations: int


@dataclass(frozen=True, slots=True)
class EdgeSpace:
    """NAS-Bench-201: one of five operations on each of six edges."""

    names: tuple[str, ...] = tuple(f"edge{number}" for number in range(1, 7))
    cardinalities: tuple[int, ...] = (5,) * 6

    def canonical(self, codes: CodeArray, /) -> CodeArray:
        return codes.copy()

    def active(self, codes: CodeArray, /) -> NDArray[np.bool_]:
        return np.ones(codes.shape, dtype=bool)

    def sample(self, n: int, rng: np.random.Generator, /) -> CodeArray:
        return rng.integers(5, size=(n, 6), dtype=np.uint8)

    def decode(self, codes: CodeArray, /) -> Sequence[str]:
        return [",".join(NB201_OPS[op] for op in row) for row in codes.tolist()]


def nb201(max_pixel3_ms: float | None, score: str = "true_acc") -> Benchmark:
    """NAS-Bench-201 with CIFAR-10 accuracy in percent; `score` may be a supernet's column instead."""
    rows = common.read_rows(common.SHARED / "nasbench201_supernets.csv.gz")
    latency = {
        row["arch_index"]: float(row["pixel3_ms"])
        for row in common.read_rows(common.SHARED / "nasbench201_latency.csv.gz")
    }
    codes = np.array(
        [
            [
                NB201_OPS.index(edge.split("~")[0])
                for node in row["arch_str"].strip("|").split("|+|")
                for edge in node.split("|")
            ]
            for row in rows
        ],
        dtype=np.uint8,
    )
    columns = {name: np.array([float(row[name]) for row in rows]) for name in ("true_acc", "macs", "params", score)}
    columns["latency_ms"] = np.array([latency[row["arch_index"]] for row in rows])
    limits = [] if max_pixel3_ms is None else [Limit("latency_ms", max_pixel3_ms)]
    name = "nb201-unlimited" if max_pixel3_ms is None else f"nb201-pixel3-{max_pixel3_ms:g}ms"
    if score != "true_acc":
        name += f"-{score.removesuffix('_acc')}"
    return _tabular(name, EdgeSpace(), codes, columns, ("latency_ms", "macs", "params"), limits, score, "true_acc", 300)


def macro(max_macs: float) -> Benchmark:
    """NAS-Bench-Macro, its 3,969 distinct networks, with the mean CIFAR-10 accuracy in percent."""
    space = load_space("nas-bench-macro")
    rows = common.read_rows(common.SHARED / "nas_bench_macro_cifar10.csv.gz")
    codes = Codes(space)
    encoded = codes.encode([common.macro_architecture(space, row["arch"]) for row in rows])
    columns = {name: np.array([float(row[name]) for row in rows]) for name in ("mean_acc", "macs", "params")}
    limits = [Limit("macs", max_macs)]
    name = f"macro-{max_macs / 1e6:g}M"
    return _tabular(name, codes, encoded, columns, ("macs", "params"), limits, "mean_acc", "mean_acc", 200)


def _tabular(name, space, codes, columns, cost_names, limits, score, truth, evaluations):  # type: ignore[no-untyped-def]
    index = {key: number for number, key in enumerate(keys(codes))}

    def column(values: FloatArray) -> Callable[[CodeArray], FloatArray]:
        return lambda rows: values[[index[key] for key in keys(rows)]]

    costs = tabular_costs(space, {cost: column(columns[cost]) for cost in cost_names}, limits)
    problem = FeasibleSpace(space, costs)
    best = column(columns[truth])(problem.everything).max()
    scored, true = column(columns[score]), column(columns[truth])
    return Benchmark(name, problem, true if score == truth else scored, true, best - 0.1, evaluations)


def tabular_costs(
    space: CandidateSpace,
    columns: Mapping[str, Callable[[CodeArray], FloatArray]],
    limits: Sequence[Limit] = (),
    describe: Callable[[CodeArray], str] = str,
) -> Costs:
    """The costs of a space small enough to enumerate, from any function of its rows."""
    rows = enumerate_codes(space)
    if rows is None:
        raise PipelineError("a tabular cost needs a space that can be enumerated")

    def lightest(weights: FloatArray) -> CodeArray:
        total = sum(w * of(rows) for w, of in zip(weights.tolist(), columns.values(), strict=True))
        best = int(np.argmin(total))
        return rows[best : best + 1]

    def minimum_of(of: Callable[[CodeArray], FloatArray]) -> Callable[[], tuple[float, CodeArray]]:
        def minimum() -> tuple[float, CodeArray]:
            values = of(rows)
            best = int(np.argmin(values))
            return float(values[best]), rows[best : best + 1]

        return minimum

    costs = tuple(Cost(name, of, minimum_of(of)) for name, of in columns.items())
    return Costs(costs, tuple(limits), lightest, describe)


def ofa_space() -> Codes:
    """Once-for-All MobileNetV3 1.2 at the input sizes of which the Note10 was measured."""
    return Codes(load_space("ofa-mbv3-1.2").with_resolutions(OFA_RESOLUTIONS))


class Note10:
    """The published table, one file per input size, each used for its size as the authors do."""

    def __init__(self) -> None:
        space = ofa_space().space
        self._costs = []
        for resolution in OFA_RESOLUTIONS:
            table, _ = import_table([common.SHARED / "latency_luts" / f"ofa_note10_{resolution}.yaml"], "ofa", "note10")
            self._costs.append(AdditiveCost(space.with_resolutions((resolution,)), table.block_ms, table.fixed_ms))

    def __call__(self, codes: CodeArray) -> FloatArray:
        """Milliseconds of each row of `ofa_space()`."""
        total = np.empty(len(codes))
        for number, cost in enumerate(self._costs):
            here = codes[:, 0] == number
            if here.any():
                rows = codes[here].copy()
                rows[:, 0] = 0
                total[here] = cost(rows)
        return total

    def minimum(self) -> tuple[float, CodeArray]:
        """The quickest network."""
        value, _, arch = min((*cost.minimum()[:1], n, cost.minimum()[1]) for n, cost in enumerate(self._costs))
        return value, ofa_space().encode([arch])


class PublishedPredictor:
    """Once-for-All's accuracy predictor, in percent; a black box to every search method."""

    def __init__(self) -> None:
        weights = np.load(common.SHARED / "ofa_mbv3_accuracy_predictor.npz")
        self._layers = [(weights[f"W{n}"].T, weights[f"b{n}"]) for n in range(4)]
        self._codes = ofa_space()
        self._tables = self._slot_tables()

    def __call__(self, codes: CodeArray) -> FloatArray:
        """Predicted top-1 of each row of `ofa_space()`."""
        active = self._codes.active(codes)
        x = np.zeros((len(codes), 128), dtype=np.float32)
        rows = np.arange(len(codes))
        for slot, (gene, kernels, expands) in enumerate(self._tables):
            there = active[:, gene]
            options = codes[there, gene]
            x[rows[there], 3 * slot + kernels[options]] = 1
            x[rows[there], 60 + 3 * slot + expands[options]] = 1
        x[rows, 120 + (np.array(OFA_RESOLUTIONS)[codes[:, 0]] - 112) // 16] = 1
        for number, (weight, bias) in enumerate(self._layers):
            x = x @ weight + bias
            if number < 3:
                x = np.maximum(x, 0)
        return 100 * x[:, 0].astype(np.float64)

    def _slot_tables(self) -> list[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
        tables = []
        space = self._codes.space
        for stage, gene in list(zip(space.stages, self._codes.width_genes, strict=True))[1:]:
            for layer, ops in enumerate(stage.slots):
                kernels = np.array([(3, 5, 7).index(op.kernel) for op in ops])
                expands = np.array([(3, 4, 6).index(op.expand) for op in ops])
                tables.append((gene + 2 + layer, kernels, expands))
        return tables


def ofa(max_ms: float) -> Benchmark:
    """Once-for-All under a Note10 limit; the goal is the value at which OFA's own evolution ends (median)."""
    ends = {15: 78.455, 20: 80.424, 25: 81.808, 30: 82.602}
    codes, latency, score = ofa_space(), Note10(), PublishedPredictor()
    space = codes.space

    def additive(name: str, of: Callable[..., float]) -> Cost:
        cost = AdditiveCost(space, of)

        def minimum() -> tuple[float, CodeArray]:
            value, arch = cost.minimum()
            return value, codes.encode([arch])

        return Cost(name, cost, minimum)

    costs = Costs(
        (
            Cost("latency_ms", latency, latency.minimum),
            additive("macs", lambda block: float(block.macs)),
            additive("params", lambda block: float(block.params)),
        ),
        (Limit("latency_ms", max_ms),),
        lambda weights: latency.minimum()[1],
        str,
    )
    problem = FeasibleSpace(codes, costs, costs.ensure_reachable())
    return Benchmark(f"ofa-note10-{max_ms:g}ms", problem, score, score, ends[int(max_ms)], 10_000)


OFA_BEST_KNOWN = {
    "ofa-note10-15ms": 78.800,
    "ofa-note10-20ms": 80.789,
    "ofa-note10-25ms": 82.200,
    "ofa-note10-30ms": 83.098,
}

BENCHMARKS: dict[str, Callable[[], Benchmark]] = {
    "nb201-pixel3-5ms": lambda: nb201(5),
    "nb201-pixel3-10ms": lambda: nb201(10),
    "nb201-unlimited": lambda: nb201(None),
    "macro-40M": lambda: macro(40e6),
    "macro-60M": lambda: macro(60e6),
    **{
        f"nb201-{limit}-{judge}": (lambda ms=ms, judge=judge: nb201(ms, f"{judge}_acc"))
        for limit, ms in (("pixel3-5ms", 5), ("pixel3-10ms", 10), ("unlimited", None))
        for judge in ("oneshot", "fewshot")
    },
    **{name: (lambda ms=int(name[11:13]): ofa(ms)) for name in OFA_BEST_KNOWN},
}
