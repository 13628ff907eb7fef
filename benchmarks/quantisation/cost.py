"""What int8 costs a run's winner in each format, before and after training with quantisation simulated.

    python -m benchmarks.quantisation.cost RUN --out FOLDER [--epochs 2]

RUN is a finished run; its winner is trained on as a run does it, with a quarter of the fine-tune's learning rate. All
test images are answered by each file of `--formats`: `onnx-int8` and `onnx-int8-tensorrt` by ONNX Runtime, Core ML's by
the MIL interpreter, `coreai-int8` (not by default: it needs that extra) by Core AI's own. The same epochs without
simulation stand beside it, so that nothing is won by longer training alone. What is in FOLDER is not done again; the
last line of its `rows.jsonl` completes the table, which is then printed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks.common import parser, print_table
from exporters import ExportOptions, Metadata, Samples, Threshold, export_all
from pipeline.runs.alone import BATCHNORM_IMAGES
from pipeline.runs.images import normalised
from pipeline.runs.quantised import AWARE_LR, CALIBRATION_IMAGES, calibration_images
from pipeline.runs.run import Run
from pipeline.supernets.augment import resize
from pipeline.supernets.aware import QuantisationAware
from pipeline.supernets.evaluate import refresh_batchnorm
from pipeline.supernets.files import load_network, save_network
from pipeline.supernets.network import Network
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.training import train

FORMATS: Final = ("onnx-int8", "onnx-int8-tensorrt", "coreml-int8", "coreml-palettized")
KINDS: Final = ("as trained", "trained on", "quantisation simulated")
_ANY: Final = Threshold(None, 0.0)


def trained(run: Run, kind: str, epochs: float, folder: Path) -> Network:
    """The winner as the run left it, or trained on in one of two ways."""
    file = folder / f"{kind.replace(' ', '-')}.safetensors"
    network = load_network(file if file.exists() else run.folder.winner / "weights.safetensors")
    if file.exists() or kind == KINDS[0]:
        return network
    config = run.config
    settings = TrainSettings(
        recipe="alone",
        epochs=epochs,
        batch_size=config.train.batch_size,
        optimizer=config.finetune.optimizer,
        lr=config.finetune.learning_rate * AWARE_LR,
        seed=config.seed,
    )
    checkpoint = file.with_suffix(".checkpoint")
    if kind == KINDS[2]:
        images, _ = normalised(run.dataset.train, run.dataset, CALIBRATION_IMAGES, config.seed)
        aware = QuantisationAware(network, resize(images, network.resolution))
        train(aware, run.training_data, settings, checkpoint)
        aware.write_back(network)
    else:
        train(network, run.training_data, settings, checkpoint)
    refresh_batchnorm(network, normalised(run.dataset.train, run.dataset, BATCHNORM_IMAGES, 0)[0])
    save_network(network, file)
    return network


def rows(run: Run, kind: str, epochs: float, folder: Path, formats: Sequence[str]) -> list[dict[str, Any]]:
    """The accuracy on the test split of the network and of its files in `formats`."""
    network = trained(run, kind, epochs, folder)
    images, labels = normalised(run.dataset.test, run.dataset, None, 0)
    test = np.ascontiguousarray(resize(images, network.resolution).numpy())
    samples = Samples(test, labels.numpy(), calibration_images(run, network.resolution))
    reports = export_all(
        network,
        samples,
        formats,
        folder / kind.replace(" ", "-"),
        Metadata(),
        ExportOptions(thresholds=dict.fromkeys(("fp32", "fp16", "int8"), _ANY)),
    )
    return [
        {"kind": kind, "format": "fp32", "accuracy": reports[0].parity.accuracy_before, "images": len(test)},
        *(
            {
                "kind": kind,
                "format": report.format,
                "accuracy": report.parity.accuracy_after,
                "agreement": report.parity.top1_agreement,
            }
            for report in reports
        ),
    ]


def main() -> None:
    """Add what is missing, then print the table."""
    arguments = parser(__doc__)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--epochs", type=float, default=2.0)
    arguments.add_argument("--formats", nargs="+", default=list(FORMATS))
    given = arguments.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    file, run = given.out / "rows.jsonl", Run.open(given.run)
    lines = file.read_text().splitlines() if file.exists() else []
    found = [json.loads(line) for line in lines]
    for kind in KINDS:
        known = {row["format"] for row in found if row["kind"] == kind}
        if not (missing := [name for name in given.formats if name not in known]):
            continue
        new = [row for row in rows(run, kind, given.epochs, given.out, missing) if row["format"] not in known]
        found += new
        with file.open("a") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in new)
    by = {(row["kind"], row["format"]): row["accuracy"] for row in found}
    cells = [(name, *(f"{by[kind, name]:.2%}" for kind in KINDS)) for name in ("fp32", *given.formats)]
    print_table(("test accuracy", *KINDS), cells)


if __name__ == "__main__":
    main()
