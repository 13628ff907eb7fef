"""What a browser's milliseconds are worth for a native app: the same networks timed in both, and `--like` between.

    python -m benchmarks.latency.calibration SPACE --device host --journal native.journal --networks 120 --held-out 60
    python -m benchmarks.latency.calibration SPACE --device web --journal browser.journal --networks 120 --held-out 60
    python -m benchmarks.latency.browser SPACE native.journal browser.journal --networks 120 --held-out 60

Prints, as Markdown, how the held-out networks' native latency relates to the browser's, and how well 10 and 20 native
timings turn the browser's table into a native one, beside MACs fitted on the same 20.
"""

from pathlib import Path

import numpy as np

from benchmarks import common
from latency_tables.accuracy import error_report
from latency_tables.blocks import total_macs
from latency_tables.build import assemble
from latency_tables.calibration import MeasuredNetwork
from latency_tables.journal import read_journal
from latency_tables.measure import MeasureOptions
from latency_tables.samples import collect
from latency_tables.table_transfer import TableTransfer
from pipeline.profiling import ProfileOptions, profile_plan
from pipeline.spaces.files import load_space


def main() -> None:
    """Print the tables."""
    parser = common.parser(__doc__)
    parser.add_argument("space")
    parser.add_argument("native", type=Path)
    parser.add_argument("browser", type=Path)
    parser.add_argument("--networks", type=int, default=120)
    parser.add_argument("--held-out", type=int, default=60)
    arguments = parser.parse_args()
    plan = profile_plan(load_space(arguments.space), ProfileOptions(arguments.networks, arguments.held_out))
    (here, native), (there, browser) = map(read_journal, (arguments.native, arguments.browser))
    native_ms, browser_ms = (collect(entries) for entries in (native, browser))
    truth = np.array([native_ms.median_ms(model.name) for model in plan.held_out])
    slower = np.array([browser_ms.median_ms(model.name) for model in plan.held_out]) / truth
    low, middle, high = np.quantile(slower, [0.025, 0.5, 0.975])
    print(f"the browser takes {middle:.2f} times as long (95 %: {low:.2f} to {high:.2f})\n")
    print("| native latency predicted by | MAPE % | Spearman |\n|---|---|---|")
    _line("browser's milliseconds, one factor", slower * truth / middle, truth)
    held_out = [MeasuredNetwork(model.blocks, float(ms)) for model, ms in zip(plan.held_out, truth, strict=True)]
    table = assemble(plan, there.device, browser_ms, MeasureOptions(), "measured")
    transfer = TableTransfer((table,), tuple(model.blocks for model in (*plan.calibration, *plan.held_out)))
    for count in (10, 20):
        chosen = _among(transfer.choose(3 * count, np.random.default_rng(0)), len(plan.calibration), count)
        timed = [native_ms.median_ms(plan.calibration[index].name) for index in chosen]
        made = transfer.table(chosen, timed, here.device, held_out)
        predicted = [made.network_ms(network.blocks) for network in held_out]
        _line(f"browser's table and {count} native timings", np.array(predicted), truth)
    macs = [total_macs(plan.calibration[index].blocks) for index in chosen]
    slope, offset = np.polyfit(macs, timed, 1)
    _line("MACs, fitted on those 20", slope * np.array([total_macs(n.blocks) for n in held_out]) + offset, truth)


def _among(chosen: list[int], fitted: int, count: int) -> list[int]:
    """The first `count` of `chosen` that are no held-out networks, which stand behind the `fitted` ones."""
    return [index for index in chosen if index < fitted][:count]


def _line(name: str, predicted: np.ndarray, truth: np.ndarray) -> None:
    report = error_report(predicted.tolist(), truth.tolist())
    print(f"| {name} | {report.mape_percent:.2f} | {report.spearman:.4f} |")


if __name__ == "__main__":
    main()
