"""A run's winner with fewer channels: `pocketnas compress`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_tables.blocks import Block, total_macs, total_params
from pipeline.budget import Limit
from pipeline.errors import PipelineError
from pipeline.progress import Progress
from pipeline.runs.alone import BATCHNORM_IMAGES
from pipeline.runs.documents.compress import CompressedFile
from pipeline.runs.images import some, unchanged
from pipeline.runs.options import PEAK_RATES
from pipeline.runs.run import Run
from pipeline.runs.winner import load_winner

if TYPE_CHECKING:
    from pipeline.relax.compress import Fits
    from pipeline.supernets.network import Network

_SESSIONS: Final = 3


def compress_winner(run: Run, limits: tuple[Limit, ...], epochs: int, out: Path, progress: Progress) -> CompressedFile:
    """Take channels out of the winner of `run` until it is inside `limits` (macs, params, size_mb, latency_ms), train
    it on for `epochs`, and leave weights, files and `compressed.json` in `out`. The run is not changed.

    Latency is measured on the run's device, since no table has blocks of these widths. Raises PipelineError where
    `out` is not empty or the winner is inside the limits as it is, InfeasibleBudget where nothing is left to take.
    """
    from pipeline.relax.compress import channels_to_keep, compressed, learn_evidence
    from pipeline.supernets.evaluate import evaluate
    from pipeline.supernets.files import load_network, save_network

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PipelineError(f"--out {out} is there already; give a new or empty folder")
    if not limits:
        raise PipelineError("nothing to keep inside of; give a limit, such as --macs 20M")
    load_winner(run, images=1)  # it may have none
    network = run.compute.placed(load_network(run.folder.winner / "weights.safetensors"))
    before, fits = network.blocks, _fits(run, limits)
    if fits(before):
        raise PipelineError("the winner is inside these limits as it is; give tighter ones")
    config = run.config
    rate, batch = PEAK_RATES["sgd"], config.train.batch_size
    if config.finetune.optimizer == "sgd":
        rate = config.finetune.learning_rate
    evidence = learn_evidence(network, run.training_data, epochs, batch, rate / 2, config.seed, progress)
    smaller = compressed(network.cpu(), channels_to_keep(before, evidence, fits), evidence)
    accuracy = _trained(run, smaller, epochs, progress)
    out.mkdir(parents=True, exist_ok=True)
    save_network(smaller, out / "weights.safetensors")
    test = unchanged(run.dataset.test, run.dataset)
    exports = _exported(run, smaller, out, progress)
    found = CompressedFile(
        limits={limit.name: limit.limit for limit in limits},
        macs=(total_macs(before), total_macs(smaller.blocks)),
        params=(total_params(before), total_params(smaller.blocks)),
        accuracy=(run.winner.accuracy, evaluate(smaller, test, test.labels).accuracy),
        search_accuracy=accuracy,
        middle_channels=[(a.mid_channels, b.mid_channels) for a, b in zip(before, smaller.blocks, strict=True)],
        exports=exports,
    )
    found.save(out / "compressed.json")
    return found


def _trained(run: Run, network: "Network", epochs: int, progress: Progress) -> float:
    """Train the smaller network on; its accuracy on the search images."""
    from pipeline.supernets.evaluate import evaluate, refresh_batchnorm
    from pipeline.supernets.settings import TrainSettings
    from pipeline.supernets.training import train

    config = run.config
    settings = TrainSettings(
        recipe="alone",
        epochs=epochs,
        **config.train.of_every_training,
        optimizer=config.finetune.optimizer,
        lr=config.finetune.learning_rate,
        seed=config.seed,
    )
    network = run.compute.placed(network)
    train(network, run.training_data, settings, None, lambda done, total, _: progress(done, total, "fine-tune"))
    network.cpu()
    refresh_batchnorm(network, some(run.dataset.train, run.dataset, BATCHNORM_IMAGES, 0)[0])
    search = unchanged(run.dataset.search, run.dataset)
    return evaluate(network, search, search.labels).accuracy


def _exported(run: Run, network: "Network", out: Path, progress: Progress) -> list[str]:
    """The network in the run's formats, verified; the files that were written."""
    from exporters import OPTIONAL, Samples, export_all
    from latency_tables.files import sha256_of

    winner = load_winner(run)
    reports = export_all(
        network,
        Samples(winner.test_images, winner.test_labels, winner.calibration_images),
        run.formats,
        out / "exports",
        replace(
            winner.metadata(),
            architecture=f"compressed from {winner.arch}",
            source_sha256=sha256_of(out / "weights.safetensors"),
        ),
        optional=OPTIONAL,
        progress=progress,
    )
    return [str(out / "exports" / report.path) for report in reports if report.path is not None]


def _fits(run: Run, limits: tuple[Limit, ...]) -> "Fits":
    def value(name: str, blocks: tuple[Block, ...]) -> float:
        match name:
            case "macs":
                return float(total_macs(blocks))
            case "params":
                return float(total_params(blocks))
            case "size_mb":
                return total_params(blocks) * 4 / 1e6
        return _measured_ms(run, blocks)

    return lambda blocks: all(limit.violation(value(limit.name, blocks)) <= 0 for limit in limits)


def _measured_ms(run: Run, blocks: tuple[Block, ...]) -> float:
    from latency_tables.devices.registry import open_runner
    from latency_tables.devices.runner import DeviceOptions, TimingProtocol
    from latency_tables.onnx_models import NamedModel

    device = run.config.device
    runner = open_runner(device.name, DeviceOptions(device.threads, run.precision))
    model = NamedModel("compressed", blocks).at(run.precision)
    (timing,) = runner.measure([model], TimingProtocol(sessions=_SESSIONS))
    return timing.median_ms
