"""How many networks a second a table predicts, on one core.

OMP_NUM_THREADS=1 python -m benchmarks.latency.speed [TABLE]
"""

import random
import sys

import numpy as np

from benchmarks import common
from latency_tables.store import load_table
from pipeline.profiling import latency_cost
from pipeline.spaces.files import load_space


def main() -> None:
    """Print networks a second, by CPU seconds, the best of five."""
    space, table = load_space("ofa-mbv3-1.0"), load_table(sys.argv[1] if len(sys.argv) > 1 else "epyc-vm-ofa-mbv3-1.0")
    cost = latency_cost(table, space)
    codes = cost.codes.sample(1_000_000, np.random.default_rng(0))
    rng = random.Random(0)
    archs = [space.sample(rng) for _ in range(20_000)]
    blocks = [space.blocks(arch) for arch in archs[:5000]]
    for name, work, networks in (
        ("encoded array", lambda: cost(codes), len(codes)),
        ("Architecture objects", lambda: cost(cost.codes.encode(archs)), len(archs)),
        ("tuples of blocks, one at a time", lambda: [table.network_ms(each) for each in blocks], len(blocks)),
    ):
        print(f"{name}: {networks / common.best_seconds(work):,.0f} networks/s")


if __name__ == "__main__":
    main()
