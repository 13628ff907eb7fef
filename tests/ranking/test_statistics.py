"""Rank statistics against scipy, against definitions worked out by hand, and against published tables."""

import csv
import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.ranking.options import option_residuals, options_of, table_of_options
from pipeline.ranking.regions import region_table
from pipeline.ranking.statistics import (
    Bootstrap,
    RankError,
    expected_best,
    kendall_tau,
    rank_statistics,
    tau_difference,
    top_tenth,
)
from pipeline.ranking.weighted import KendallTree, Order, precision_at, resample_weights, spearman

FEW = Bootstrap(resamples=30)
columns = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=40)


@settings(max_examples=60, deadline=None)
@given(columns, st.integers(0, 5))
def test_weighted_figures_are_those_of_the_resample_written_out(pairs: list[tuple[int, int]], seed: int) -> None:
    x, y = np.array(pairs, dtype=np.float64).T
    weights = resample_weights(len(x), 4, np.random.default_rng(seed))
    taus = KendallTree(x, y).tau(weights)
    rhos = spearman(Order.of(x), Order.of(y), weights)
    for row, tau, rho in zip(weights, taus, rhos, strict=True):
        drawn = np.repeat(np.arange(len(x)), row.astype(int))
        a, b = x[drawn], y[drawn]
        if len(set(a)) == 1 or len(set(b)) == 1:
            assert np.isnan(tau)
            assert np.isnan(rho)
        else:
            assert tau == pytest.approx(stats.kendalltau(a, b)[0])
            assert rho == pytest.approx(stats.spearmanr(a, b)[0])


def test_perfect_reversed_and_constant_proxies() -> None:
    truth = np.arange(200.0)
    perfect = rank_statistics(truth, truth * 3, FEW)
    assert (perfect.kendall_tau.value, perfect.spearman.value, perfect.precision_at_10_percent.value) == (1, 1, 1)
    assert perfect.best_in_top_k[1].value == 199
    reverse = rank_statistics(truth, -truth, FEW)
    assert (reverse.kendall_tau.value, reverse.precision_at_10_percent.value) == (-1, 0)
    constant = rank_statistics(truth, np.ones(200), FEW)
    for figure in (constant.kendall_tau, constant.spearman, constant.precision_at_10_percent):
        assert figure.value is None
        assert figure.ci95 is None
    assert constant.best_in_top_k[10].value is None
    assert constant.random_best_in_top_k[10] == perfect.random_best_in_top_k[10]


def test_the_interval_covers_the_true_correlation_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    rho = 0.6
    expected = 2 / np.pi * np.arcsin(rho)
    hits = 0
    for seed in range(100):
        x = rng.normal(size=60)
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=60)
        tree = rank_statistics(y, x, Bootstrap(200, seed), top=())
        low, high = tree.kendall_tau.ci95 or (1.0, -1.0)
        hits += low <= expected <= high
    assert 86 <= hits <= 99


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_random_baseline_is_the_mean_over_all_draws(k: int) -> None:
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    best = [max(draw) for draw in itertools.combinations(values.tolist(), k)]
    assert expected_best(values, k) == pytest.approx(np.mean(best))


def test_one_optimum_is_in_a_random_top_k_with_chance_k_over_n() -> None:
    truth = np.zeros(50)
    truth[17] = 1
    assert expected_best(truth, 10) == pytest.approx(10 / 50)


def test_ties_at_the_edge_of_the_top_tenth_are_shared() -> None:
    truth, coarse = np.arange(20.0), np.array([0.0] * 16 + [1.0] * 4)
    ones = np.ones((1, 20))
    # Two of the four tied networks are in the true top two: half of them on average.
    assert precision_at(Order.of(coarse), Order.of(truth), ones, 0.1)[0] == pytest.approx(0.5)
    result = rank_statistics(truth, coarse, FEW, top=(2,))
    assert result.best_in_top_k[2].value == 17
    assert result.tied_best_in_top_k[2] == pytest.approx((19 * 3 + 18 * 2 + 17) / 6)


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=300)
    weak = truth + 1.0 * rng.normal(size=300)
    weaker = weak + 0.3 * rng.normal(size=300)
    difference = tau_difference(truth, weak, weaker, Bootstrap(200))
    alone = rank_statistics(truth, weak, Bootstrap(200), top=()).kendall_tau
    assert difference.low is not None
    assert difference.high is not None
    assert alone.low is not None
    assert alone.high is not None
    assert difference.high - difference.low < 0.6 * (alone.high - alone.low)
    same = tau_difference(truth, weak, weak, FEW)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(RankError, match="equal length"):
        rank_statistics([1, 2, 3], [1, 2])
    with pytest.raises(RankError, match="no rows"):
        rank_statistics([], [])
    with pytest.raises(RankError, match="finite"):
        rank_statistics([1, 2], [1, float("nan")])
    assert kendall_tau([1.0], [2.0]) is None


def test_spellings_of_three_benchmarks() -> None:
    assert options_of("|a~0|+|b~0|c~1|") == {"1<-0": "a", "2<-0": "b", "2<-1": "c"}
    assert options_of("12") == {"layer1": "1", "layer2": "2"}
    ours = table_of_options(["r32_w8-k3e3", "r32_w8-k3e3-k5e6"])
    assert [row["stage1.layer2"] for row in ours] == ["absent", "k5e6"]
    with pytest.raises(RankError, match="conv9"):
        options_of("conv9")


def test_a_biased_option_shows_in_its_residual() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(size=400)
    spellings = ["1" if coin else "2" for coin in rng.integers(0, 2, 400)]
    proxy = truth + np.array([0.5 if s == "1" else 0.0 for s in spellings])
    liked, slighted = option_residuals(truth, proxy, table_of_options(spellings))
    assert (liked.option, slighted.option) == ("1", "2")
    assert liked.residual > 0.05
    assert slighted.residual < -0.05
    assert liked.ci95 is not None
    assert liked.ci95[0] > 0


def test_published_tables_of_nas_bench_201(shared_data: Path) -> None:
    with gzip.open(shared_data / "nasbench201_supernets.csv.gz", "rt") as stream:
        rows = list(csv.DictReader(stream))
    truth = np.array([float(row["true_acc"]) for row in rows])
    proxies = {name: np.array([float(row[name]) for row in rows]) for name in ("oneshot_acc", "fewshot_acc", "macs")}
    best = top_tenth(truth)
    assert len(best) == 1562
    known = {
        "oneshot_acc": (0.4849, 0.6771, 91.39, 91.158, -0.2258, 93.37, 93.083, 0.10),
        "fewshot_acc": (0.5508, 0.7410, 93.30, 92.606, -0.0774, 93.34, 93.136, 0.29),
    }
    no_resampling = Bootstrap(resamples=1)
    for name, (tau, rho, top_best, top_mean, inner, inner_best, inner_mean, precision) in known.items():
        found = rank_statistics(truth, proxies[name], no_resampling)
        assert found.kendall_tau.value == pytest.approx(tau, abs=5e-5)
        assert found.spearman.value == pytest.approx(rho, abs=5e-5)
        assert found.best_in_top_k[10].value == pytest.approx(top_best, abs=5e-3)
        assert found.mean_in_top_k[10].value == pytest.approx(top_mean, abs=5e-4)
        assert found.precision_at_10_percent.value == pytest.approx(precision, abs=5e-3)
        assert found.tau_in_true_top_10_percent.value == pytest.approx(inner, abs=5e-5)
        assert found.random_best_in_top_k[10] == pytest.approx(93.10, abs=0.01)
        inside = rank_statistics(truth[best], proxies[name][best], no_resampling)
        assert inside.best_in_top_k[10].value == pytest.approx(inner_best, abs=5e-3)
        assert inside.mean_in_top_k[10].value == pytest.approx(inner_mean, abs=5e-4)
    assert kendall_tau(truth, proxies["macs"]) == pytest.approx(0.5777, abs=5e-5)
    regions = [options_of(row["arch_str"])["1<-0"] for row in rows]
    table = {row.region: row for row in region_table(truth, proxies["fewshot_acc"], regions, no_resampling)}
    assert table["none"].kendall_tau.value == pytest.approx(0.719, abs=5e-4)
    assert table["skip_connect"].kendall_tau.value == pytest.approx(0.476, abs=5e-4)
    assert table["nor_conv_3x3"].n == 3125


def test_nas_bench_macro_noise_ceiling(shared_data: Path) -> None:
    with gzip.open(shared_data / "nas_bench_macro_cifar10.csv.gz", "rt") as stream:
        rows = list(csv.DictReader(stream))
    column = {name: [float(row[name]) for row in rows] for name in ("acc1", "acc2", "mean_acc", "macs")}
    assert kendall_tau(column["macs"], column["mean_acc"]) == pytest.approx(0.556, abs=5e-4)
    assert kendall_tau(column["acc1"], column["acc2"]) == pytest.approx(0.882, abs=5e-4)
