"""Which correction from rows to networks is best: all of them on the same measurements, on networks not fitted on.

    python -m benchmarks.latency.calibration ofa-mbv3-1.0 --journal measured.journal --networks 300 --held-out 120

Measures (a stopped measurement continues from the journal), then prints a table of methods as Markdown: plain
MACs and the uncorrected sum of rows as baselines, regression on block counts without rows, and each method.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks import common
from latency_tables.accuracy import error_report
from latency_tables.blocks import total_macs
from latency_tables.calibration import METHODS, MeasuredNetwork, calibrate
from latency_tables.devices.registry import opened_runner
from latency_tables.devices.runner import DeviceOptions
from latency_tables.measure import MeasureOptions, measure_models
from latency_tables.regression import fit_additive
from latency_tables.samples import Samples
from latency_tables.table import PRECISIONS, ErrorReport
from pipeline.profiling import ProfileOptions, profile_plan
from pipeline.spaces.files import load_space

Predict = Callable[[MeasuredNetwork], float]


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("space")
    parser.add_argument("--device", default="host")
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--held-out", type=int, default=100)
    parser.add_argument("--visits", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one short look, to try this script")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--ort-web", type=Path, help="with --device web: an unpacked npm package")
    arguments = parser.parse_args()
    options = MeasureOptions.quick() if arguments.quick else MeasureOptions(visits=arguments.visits)
    plan = profile_plan(load_space(arguments.space), ProfileOptions(arguments.networks, arguments.held_out))
    asked = DeviceOptions(precision=arguments.precision, ort_web=arguments.ort_web)
    with opened_runner(arguments.device, asked) as runner:
        device, samples = measure_models(plan.models, runner, arguments.journal, options, common.progress)
    fitted, held_out = ([_measured(m.name, m.blocks, samples) for m in ms] for ms in (plan.calibration, plan.held_out))
    rows_ms = {block: samples.median_ms(block.key) for block in plan.blocks}
    print(
        f"\n{device.soc}, {device.runtime} {device.runtime_version}, {device.threads} thread(s), {device.precision}; "
    )
    print(f"{len(rows_ms)} rows, ", end="")
    print(f"{len(fitted)} networks fitted on, {len(held_out)} held out; sentinel drift {samples.drift_percent:.1f} %\n")
    print("| correction | MAPE % | RMSE ms | Spearman | in 5 % | in 10 % | worst under % | 95 % interval |")
    print("|---|---|---|---|---|---|---|---|")
    for name, predict in _predictors(rows_ms, fitted).items():
        predicted = [predict(network) for network in held_out]
        print(_line(name, error_report(predicted, [network.latency_ms for network in held_out])))


def _predictors(rows_ms, fitted: Sequence[MeasuredNetwork]) -> dict[str, Predict]:  # type: ignore[no-untyped-def]
    macs = np.array([total_macs(network.blocks) for network in fitted], float)
    latency_ms = np.array([network.latency_ms for network in fitted])
    slope, offset = np.polyfit(macs, latency_ms, 1, w=1 / latency_ms)
    counts = fit_additive([n.blocks for n in fitted], latency_ms.tolist(), nonnegative=True)
    known = set(counts.cost_ms)
    mean_ms = {block: float(np.mean(list(counts.cost_ms.values()))) for block in rows_ms if block not in known}

    def by_counts(network: MeasuredNetwork) -> float:
        return counts.fixed_ms + sum(counts.cost_ms.get(b, mean_ms.get(b, 0.0)) for b in network.blocks)

    found: dict[str, Predict] = {
        "MACs, affine": lambda network: float(slope * total_macs(network.blocks) + offset),
        "block counts without rows (non-negative least squares)": by_counts,
    }
    for method in METHODS:
        calibrated = calibrate(rows_ms, fitted, method)
        found[f"`{method}`"] = lambda network, c=calibrated: (  # type: ignore[misc]
            c.fixed_ms + sum(c.network_ms[block] for block in network.blocks)
        )
    return found


def _measured(name, blocks, samples: Samples) -> MeasuredNetwork:  # type: ignore[no-untyped-def]
    return MeasuredNetwork(blocks, samples.median_ms(name))


def _line(name: str, e: ErrorReport) -> str:
    return (
        f"| {name} | {e.mape_percent:.2f} | {e.rmse_ms:.3f} | {e.spearman:.4f} | {100 * e.within_5_percent:.1f} % | "
        f"{100 * e.within_10_percent:.1f} % | {e.worst_under_percent:.1f} | "
        f"{100 * e.residual_low:+.1f} to {100 * e.residual_high:+.1f} % |"
    )


if __name__ == "__main__":
    main()
