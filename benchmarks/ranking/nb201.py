"""What the published few-shot scores on NAS-Bench-201 are worth, and what mends them.

    python -m benchmarks.ranking.nb201

Reads nasbench201_supernets.csv.gz (all 15,625 networks: truth, one-shot and few-shot scores, size), prints
Markdown tables: the proxies alone, calibration between the five sub-supernets, and a ranker that learns from
a few trained networks which proxies and options to believe.
"""

import numpy as np

from benchmarks import common
from pipeline.ranking.calibration import calibrate
from pipeline.ranking.options import table_of_options
from pipeline.ranking.prior import MOST_SHARE
from pipeline.ranking.report import Columns
from pipeline.ranking.ridge import Floats, Ridge
from pipeline.ranking.statistics import Bootstrap, expected_best, kendall_tau, rank_statistics, tau_difference
from pipeline.ranking.weighted import Order

DRAWS = 20  # how often labelled networks are drawn


def main() -> None:
    """Print the tables."""
    common.parser(__doc__).parse_args()
    columns = Columns.read(common.SHARED / "nasbench201_supernets.csv.gz")
    truth = columns.numbers("true_acc")
    proxies = {
        "one-shot": columns.numbers("oneshot_acc"),
        "few-shot": columns.numbers("fewshot_acc"),
        "MACs": columns.numbers("macs"),
        "parameters": columns.numbers("params"),
    }
    options = table_of_options(columns.text("arch_str"))
    names = sorted({row["1<-0"] for row in options})
    regions = np.array([names.index(row["1<-0"]) for row in options])
    one_hot = options_of_each(columns)
    alone(truth, proxies)
    weeding(truth, proxies)
    equal_size(truth, proxies)
    calibrations(truth, proxies, regions, len(names))
    priors(truth, proxies, one_hot, sizes_of(columns))
    rankers(truth, proxies, one_hot)


def options_of_each(columns: Columns) -> Floats:
    """Each edge's operation as 0 or 1, shape (networks, 6 edges of 5 operations)."""
    options = table_of_options(columns.text("arch_str"))
    names = sorted({row["1<-0"] for row in options})
    return np.array([[row[place] == op for place in row for op in names] for row in options], dtype=np.float64)


def alone(truth: Floats, proxies: dict[str, Floats]) -> None:
    """Each proxy by itself."""
    print("| proxy | tau [95 %] | minus MACs [95 %] | P@10 % | best in top 10 (random 10) | tau in true top 10 % |")
    print("|---|---|---|---|---|---|")
    few = Bootstrap(500)
    for name, proxy in proxies.items():
        found = rank_statistics(truth, proxy, few, top=(10,))
        difference = tau_difference(truth, proxy, proxies["MACs"], few)
        print(
            f"| {name} | {_interval(found.kendall_tau)} | {_interval(difference)} |"
            f" {found.precision_at_10_percent.value:.2f} | {found.best_in_top_k[10].value:.2f}"
            f" ({found.random_best_in_top_k[10]:.2f}) | {found.tau_in_true_top_10_percent.value:.3f} |"
        )


def weeding(truth: Floats, proxies: dict[str, Floats]) -> None:
    """How many of the truly best networks go when the worst by proxy are dropped."""
    print("\n| proxy | " + " | ".join(f"worst {share:.0%} dropped" for share in (0.25, 0.5, 0.75)) + " |")
    print("|---|---|---|---|")
    ones = np.ones((1, len(truth)))
    best = Order.of(truth).top_shares(ones, np.array([0.1 * len(truth)]))[0]
    for name, proxy in proxies.items():
        kept = [Order.of(proxy).top_shares(ones, np.array([keep * len(truth)]))[0] for keep in (0.75, 0.5, 0.25)]
        print(f"| {name} | " + " | ".join(f"{1 - (best * k).sum() / best.sum():.1%}" for k in kept) + " |")


def equal_size(truth: Floats, proxies: dict[str, Floats]) -> None:
    """What the scores know that size does not: tau among networks of exactly equal MACs, and below a limit."""
    macs = proxies["MACs"]
    groups = [own for own in (np.flatnonzero(macs == value) for value in np.unique(macs)) if len(own) >= 30]
    sizes = [len(own) for own in groups]
    print(f"\n| proxy | mean tau among equal MACs ({len(groups)} groups) | best / mean in top 10 below a MACs limit |")
    print("|---|---|---|")
    allowed = np.flatnonzero(macs <= np.quantile(macs, 0.5))
    for name in ("one-shot", "few-shot", "MACs"):
        taus = [kendall_tau(truth[own], proxies[name][own]) or 0.0 for own in groups]
        first = truth[allowed][np.argsort(-proxies[name][allowed], kind="stable")[:10]]
        print(f"| {name} | {np.average(taus, weights=sizes):.3f} | {first.max():.2f} / {first.mean():.2f} |")
    inside = truth[allowed]
    print(f"| random 10 | 0 | {expected_best(inside, 10):.2f} / {inside.mean():.2f} |")


def calibrations(truth: Floats, proxies: dict[str, Floats], regions: np.ndarray, count: int) -> None:  # type: ignore[type-arg]
    """The few-shot scores with each sub-supernet's scale moved, and how far moving could lift them at all."""
    rng = np.random.default_rng(0)
    score, parent = proxies["few-shot"], proxies["one-shot"]
    print("\n| calibration of the five sub-supernets | tau, mean over draws (sd) |\n|---|---|")
    print(f"| none | {kendall_tau(truth, score):.3f} |")
    for each in (10, 50):
        for what, reference in (("the parent's scores", parent), ("true accuracies", truth)):
            taus = []
            for _ in range(DRAWS):
                drawn = [rng.choice(np.flatnonzero(regions == k), each, replace=False) for k in range(count)]
                chosen = np.concatenate(drawn)
                fitted = calibrate(score[chosen], reference[chosen], regions[chosen], count)  # type: ignore[arg-type]
                taus.append(kendall_tau(truth, fitted(score, regions)) or 0.0)  # type: ignore[arg-type]
            print(f"| means of {what}, {each} networks a region | {np.mean(taus):.3f} ({np.std(taus):.3f}) |")
    perfect = np.empty_like(score)
    for region in range(count):
        own = np.flatnonzero(regions == region)
        perfect[own[np.argsort(score[own], kind="stable")]] = np.sort(truth[own])
    print(f"| perfect: each region given its true distribution | {kendall_tau(truth, perfect):.3f} |")


def priors(truth: Floats, proxies: dict[str, Floats], one_hot: Floats, sizes: Floats) -> None:
    """The product's ranker without labels, its smoothing learned from 120 judged networks (`ranking.prior`)."""
    print("\n| score | raw | smoothed | half raw, half smoothed, and size |\n|---|---|---|---|")
    for name in ("one-shot", "few-shot"):
        score, taus = _ranks(proxies[name]), []
        for draw in range(DRAWS):
            judged = np.random.default_rng(draw).choice(len(truth), 120, replace=False)
            found = ranked(score, sizes, one_hot, judged)
            taus.append([kendall_tau(truth, one) or 0.0 for one in found])
        means = np.mean(taus, axis=0)
        print(f"| {name} | {kendall_tau(truth, score):.3f} | {means[0]:.3f} | {means[1]:.3f} |")


def sizes_of(columns: Columns) -> Floats:
    """Log MACs, log parameters and the number of convolutions in a cell, shape (networks, 3)."""
    convolutions = [sum("conv" in op for op in row.values()) for row in table_of_options(columns.text("arch_str"))]
    logs = [np.log(columns.numbers(name)) for name in ("macs", "params")]
    return np.stack([*logs, np.array(convolutions, dtype=float)], axis=1)


def ranked(score: Floats, sizes: Floats, one_hot: Floats, judged: np.ndarray) -> tuple[Floats, Floats]:  # type: ignore[type-arg]
    """Scores smoothed over the `judged` networks, and what the product's ranker makes of both and size."""
    smoothed = smoothed_scores(score, one_hot, judged)
    size = size_as_repaid(score, sizes, judged)
    return smoothed, (_standardised(score) + _standardised(smoothed)) / 2 + size


def size_as_repaid(score: Floats, sizes: Floats, judged: np.ndarray) -> Floats:  # type: ignore[type-arg]
    """Log MACs and what size explains of the scores of the `judged` networks, weighed as `ranking.prior` does."""
    ridge = Ridge.fit(sizes[judged], score[judged])
    share = min(MOST_SHARE, ridge.explained)
    return (1 - share) * _standardised(sizes[:, 0]) + share * _standardised(ridge(sizes))


def smoothed_scores(score: Floats, one_hot: Floats, judged: np.ndarray) -> Floats:  # type: ignore[type-arg]
    """What operations explain of the scores of the `judged` networks, for all."""
    totals = one_hot.reshape(len(one_hot), 6, -1).sum(axis=1)
    x, belief = np.hstack([totals, one_hot]), np.append(np.ones(totals.shape[1]), np.full(one_hot.shape[1], 0.2))
    return Ridge.fit(x[judged], score[judged], belief)(x)


def _standardised(values: Floats) -> Floats:
    return np.asarray((values - values.mean()) / values.std())


def rankers(truth: Floats, proxies: dict[str, Floats], one_hot: Floats) -> None:
    """Ridge regression on parts, taught by a few truly trained networks, judged on all others.

    As the product's ranker: totals are how many edges have each op, and single edges are believed a fifth.
    """
    edges = 6
    totals = one_hot.reshape(len(one_hot), edges, -1).sum(axis=1)
    rank = {name: _ranks(proxy)[:, None] for name, proxy in proxies.items()}
    sizes = np.hstack([np.log(proxies["MACs"])[:, None], np.log(proxies["parameters"])[:, None]])
    sets = {
        "size": [sizes],
        "options": [one_hot],
        "size + totals": [sizes, totals],
        "size + totals + options": [sizes, totals, one_hot],
        "one-shot + size": [rank["one-shot"], sizes],
        "few-shot + size": [rank["few-shot"], sizes],
        "one-shot + size + totals + options": [rank["one-shot"], sizes, totals, one_hot],
        "few-shot + size + totals + options": [rank["few-shot"], sizes, totals, one_hot],
        "both scores + size + totals + options": [rank["few-shot"], rank["one-shot"], sizes, totals, one_hot],
    }
    counts = (30, 60, 100, 200)
    print("\n| parts | " + " | ".join(f"{n} labels" for n in counts) + " |")
    print("|---" * (len(counts) + 1) + "|")
    for name, parts in sets.items():
        x = np.hstack(parts)
        belief = np.concatenate([np.full(part.shape[1], 0.2 if part is one_hot else 1.0) for part in parts])
        cells = []
        for n in counts:
            rng = np.random.default_rng(n)
            taus = []
            for _ in range(DRAWS):
                chosen = rng.choice(len(truth), n, replace=False)
                ridge = Ridge.fit(x[chosen], _ranks(truth[chosen]), belief)
                rest = np.setdiff1d(np.arange(len(truth)), chosen)
                taus.append(kendall_tau(truth[rest], ridge(x[rest])) or 0.0)
            cells.append(f"{np.mean(taus):.3f} ({np.std(taus):.3f})")
        print(f"| {name} | {' | '.join(cells)} |")


def _ranks(values: Floats) -> Floats:
    ones = np.ones((1, len(values)))
    ranks: Floats = Order.of(values).mid_ranks(ones)[0] / len(values)
    return ranks


def _interval(estimate):  # type: ignore[no-untyped-def]
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


if __name__ == "__main__":
    main()
