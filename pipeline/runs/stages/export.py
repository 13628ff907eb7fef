"""Stage `export`: the winner as files that phones run, each verified, and its real latency on the device."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from latency_tables.blocks import Block
from pipeline.progress import Progress
from pipeline.runs.documents.export import MeasuredLatency
from pipeline.runs.run import Run
from pipeline.runs.winner import load_winner

if TYPE_CHECKING:
    from exporters import ExportReport, Threshold
    from exporters.request import Precision

# A median of so many fresh sessions is steady on a shared machine.
SESSIONS: Final = 9
AGREEMENT: Final = 0.9  # share of images whose class an int8 file and the network must agree on at least
_TOLD: Final = ("format", "path", "precision", "size_bytes", "sha256", "seconds", "latency_ms", "clock", "parity")


def work(run: Run, progress: Progress) -> None:
    """Leave `exports/` with the files and `export.json`, and `latency.json` with what the device measured."""
    from exporters import OPTIONAL, ExportOptions, Samples, export_all

    winner = load_winner(run)
    samples = Samples(winner.test_images, winner.test_labels, winner.calibration_images)
    metadata = winner.metadata()
    reports = export_all(
        winner.network,
        samples,
        run.formats,
        run.folder.exports,
        metadata,
        ExportOptions(predicted_ms=winner.predicted_ms, thresholds=_thresholds(run)),
        optional=OPTIONAL,
        progress=progress,
    )
    tell_exports(run, reports)
    _measure(run, winner.network.blocks, progress)


def tell_exports(run: Run, reports: "Sequence[ExportReport]") -> None:
    """Events of the files in the run's own export folder; `path` is seen from there."""
    for report in reports:
        facts = {key: value for key, value in report.as_dict().items() if key in _TOLD}
        run.events.tell("export", "export", **facts)


def _thresholds(run: Run) -> "dict[Precision, Threshold]":
    """What parity must reach. Where int8 is deployed its cost was measured before the winner was chosen by it, so that
    parity has only to show that a file is no other network's."""
    from exporters import THRESHOLDS, Threshold

    return {**THRESHOLDS, "int8": Threshold(None, AGREEMENT)} if run.precision == "int8" else dict(THRESHOLDS)


def _measure(run: Run, blocks: tuple[Block, ...], progress: Progress) -> None:
    """Time the winner on the run's device in fresh sessions, unless the table is of a device that is not here."""
    from latency_tables.devices.registry import needs_a_person, open_runner
    from latency_tables.devices.runner import DeviceOptions, TimingProtocol
    from latency_tables.onnx_models import NamedModel

    device, own = run.config.device, run.table.device.name
    progress(0, 1, f"measure on {device.name}")
    if needs_a_person(device.name):  # who opened the page hours ago is not waited for
        reason = f"[device] name {device.name!r} needs somebody to open a page; `table validate` does it"
        MeasuredLatency(device=own, measured_ms=None, reason=reason).save(run.folder.latency)
        return
    runner = open_runner(device.name, DeviceOptions(device.threads, run.precision))
    here = runner.describe()
    if here.name == own:
        (timing,) = runner.measure([NamedModel("winner", blocks).at(run.precision)], TimingProtocol(sessions=SESSIONS))
        found = MeasuredLatency(
            device=own,
            measured_ms=timing.median_ms,
            clock=here.clock,
            session_ms=list(map(float, timing.session_ms)),
        )
    else:
        reason = f"the latency table is of {own!r}; [device] name {device.name!r} is {here.name!r}"
        found = MeasuredLatency(device=own, measured_ms=None, reason=reason)
    progress(1, 1, f"measure on {device.name}")
    found.save(run.folder.latency)
    if found.measured_ms is not None:
        run.events.tell("latency", "export", device=found.device, measured_ms=found.measured_ms, clock=found.clock)
