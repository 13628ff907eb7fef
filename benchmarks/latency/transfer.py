"""A new device from a few measurements: NAS-Bench-201, each device left out once.

    POCKETNAS_SHARED_DATA=… python -m benchmarks.latency.transfer

Prints, as Markdown, Spearman's correlation on all networks that were not measured, for 10, 20 and 50 measured
ones chosen by `choose_networks` or at random, beside plain MACs, and with one known device instead of ten.
"""

import re

import numpy as np
from numpy.typing import NDArray

from benchmarks import common
from latency_tables.accuracy import spearman
from latency_tables.transfer import Networks, choose_networks, transfer

Array = NDArray[np.float64]
OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
SEEDS = range(5)


def main() -> None:
    """Print the tables."""
    latency_ms, macs, operators, devices = read()
    print(f"{len(macs)} networks with a latency on all {len(devices)} devices, mean over {len(SEEDS)} seeds\n")
    print("| device left out | MACs | 10 | 20 | 50 | 10 at random |")
    print("|---|---|---|---|---|---|")
    columns = []
    for target, device in enumerate(devices):
        others = [number for number in range(len(devices)) if number != target]
        networks = Networks(latency_ms[:, others], macs, operators)
        truth = latency_ms[:, target]
        row = [spearman(macs, truth)]
        row += [score(networks, truth, count, chosen=True) for count in (10, 20, 50)]
        row += [score(networks, truth, 10, chosen=False)]
        columns.append(row)
        print(f"| {device.removesuffix('_ms')} | {' | '.join(f'{value:.3f}' for value in row)} |")
    means = np.mean(columns, axis=0)
    print(f"| **mean** | {' | '.join(f'**{value:.3f}**' for value in means)} |")
    print("\nOne known device (mean over all pairs of devices), seed 0:\n")
    print("| 10 | 20 | 50 |\n|---|---|---|")
    pairs = [(s, t) for s in range(len(devices)) for t in range(len(devices)) if s != t]
    single = [
        np.mean(
            [
                score(Networks(latency_ms[:, [s]], macs, operators), latency_ms[:, t], count, True, seeds=range(1))
                for s, t in pairs
            ]
        )
        for count in (10, 20, 50)
    ]
    print(f"| {' | '.join(f'{value:.3f}' for value in single)} |")


def score(networks: Networks, truth: Array, count: int, chosen: bool, seeds: range = SEEDS) -> float:
    """Mean Spearman on the networks that were not measured."""
    found = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        measured = (
            choose_networks(networks, count, rng) if chosen else rng.choice(len(truth), count, replace=False).tolist()
        )
        result = transfer(networks, measured, truth[measured].tolist())
        rest = np.setdiff1d(np.arange(len(truth)), measured)
        found.append(spearman(result.latency_ms[rest], truth[rest]))
    return float(np.mean(found))


def read() -> tuple[Array, Array, Array, list[str]]:
    """Latencies (n, devices), MACs (n,), one-hot operators (n, 30), names of the devices."""
    latencies, architectures = (
        common.read_rows(common.SHARED / f"nasbench201_{name}.csv.gz") for name in ("latency", "supernets")
    )
    devices = [name for name in latencies[0] if name.endswith("_ms")]
    known = [number for number, row in enumerate(latencies) if all(row[device] for device in devices)]
    milliseconds = np.array([[float(latencies[n][device]) for device in devices] for n in known])
    operators = [re.findall(r"([a-z_0-9]+)~", architectures[n]["arch_str"]) for n in known]
    one_hot = np.array([[op == other for op in network for other in OPERATORS] for network in operators], float)
    return milliseconds, np.array([float(architectures[n]["macs"]) for n in known]), one_hot, devices


if __name__ == "__main__":
    main()
