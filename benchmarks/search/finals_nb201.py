"""What a search ends as is truly worth, by what guides it and how many finalists are trained: NAS-Bench-201.

    python -m benchmarks.search.finals_nb201

The published supernet scores judge, the benchmark's accuracies are the final trainings. Networks are the best by each
ranking inside a limit, which a search of such a space finds; the ranker learns from 120 networks inside it, anew for
each of 20 draws. Regret: points behind the best network inside, median over the draws (largest).
"""

import numpy as np

from benchmarks import common
from benchmarks.ranking.nb201 import options_of_each, ranked, sizes_of
from pipeline.ranking.report import Columns
from pipeline.ranking.ridge import Floats

DRAWS, LEARNED_FROM = 20, 120
FINALISTS = (1, 3, 8, 12)


def limits(columns: Columns) -> dict[str, Floats]:
    """Which networks are inside each limit, as places in the columns."""
    macs = columns.numbers("macs")
    rows = common.read_rows(common.SHARED / "nasbench201_latency.csv.gz")
    by_index = {row["arch_index"]: float(row["pixel3_ms"]) for row in rows}
    ms = np.array([by_index[index] for index in columns.text("arch_index")])
    return {
        "40M MACs": np.flatnonzero(macs <= 40e6),
        "60M MACs": np.flatnonzero(macs <= 60e6),
        "5 ms on a Pixel 3": np.flatnonzero(ms <= 5),
        "10 ms on a Pixel 3": np.flatnonzero(ms <= 10),
        "none": np.arange(len(macs)),
    }


def orders(columns: Columns, inside: Floats, one_hot: Floats, sizes: Floats, draw: int) -> dict[str, Floats]:
    """Each way to rank the networks inside, best first, as places among them."""
    rng = np.random.default_rng(draw)
    macs = columns.numbers("macs")[inside]
    judged = rng.choice(len(inside), min(LEARNED_FROM, len(inside)), replace=False)
    found = {"MACs": macs, "random": rng.random(len(inside))}
    for name in ("oneshot", "fewshot"):
        score = columns.numbers(f"{name}_acc")[inside]
        places = np.argsort(np.argsort(score, kind="stable"), kind="stable") / len(score)
        found |= {f"{name} score": score, f"{name} ranker": ranked(places, sizes[inside], one_hot[inside], judged)[1]}
    best_first = {name: np.argsort(-values, kind="stable") for name, values in found.items()}
    for name in ("oneshot ranker", "fewshot ranker"):
        best_first[f"{name}, most MACs second"] = np.insert(best_first[name], 1, best_first["MACs"][0])
    return best_first


def main() -> None:
    """Print the table."""
    common.parser(__doc__).parse_args()
    columns = Columns.read(common.SHARED / "nasbench201_supernets.csv.gz")
    truth, one_hot, sizes = columns.numbers("true_acc"), options_of_each(columns), sizes_of(columns)
    rows = []
    for limit, inside in limits(columns).items():
        worth = truth[inside]
        drawn = [orders(columns, inside, one_hot, sizes, draw) for draw in range(DRAWS)]
        largest = worth[drawn[0]["MACs"][0]]
        for name in drawn[0]:
            cells = []
            for k in FINALISTS:
                won = np.array([worth[found[name][:k]].max() for found in drawn])
                behind = "" if (won >= largest).all() else f", behind most MACs in {(won < largest).mean():.0%}"
                regret = worth.max() - won
                cells.append(f"{np.median(regret):.2f} ({regret.max():.2f}){behind}")
            gain = 100 * (np.mean([worth[found[name][:8]].max() for found in drawn]) / worth.mean() - 1)
            rows.append((f"{limit}: {len(inside):,} networks", name, *cells, f"{gain:+.1f} %"))
    head = ("limit", "ranked by", *(f"regret, {k} finalists" for k in FINALISTS), "8 over the random mean")
    common.print_table(head, rows)


if __name__ == "__main__":
    main()
