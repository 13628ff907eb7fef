"""Every export format of one trained network: size, time to write, parity on real photographs, latency here.

    python -m benchmarks.exports.formats train WORK     # a MobileNetV3 of OFA's space on hand signs, 64 pixels
    python -m benchmarks.exports.formats export WORK    # all targets whose tools this environment has

Targets that need another environment (LiteRT, ExecuTorch, TensorRT) are exported by running the second
command there with the same WORK; rows are kept in WORK/rows.json and printed together.
Photographs: `sign_digits_imagefolder.zip` in the folder that POCKETNAS_SHARED_DATA names (else ../shared/data).
"""

import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_weights
from safetensors.torch import save_file as save_weights
from torch import nn

from benchmarks import common
from exporters import EXPORTERS, ExportOptions, Metadata, Preprocessing, Samples, export_all
from pipeline.spaces.files import load_space
from pipeline.spaces.named import resolve_architecture
from pipeline.supernets.network import Network

PIXELS = 64
PREPROCESSING = Preprocessing((0.67, 0.65, 0.62), (0.22, 0.24, 0.25))
EPOCHS, BATCH = 15, 32
ARCHITECTURE = json.dumps({"r": 128, "d": [2] * 5, "ks": [3, 5, 3, 3] * 5, "e": [4] * 20})


def network(seed: int = 0) -> Network:
    """A MobileNetV3 of OFA's space: two blocks a stage, kernels 3 and 5, for ten classes."""
    space = load_space("ofa-mbv3-1.0").with_classes(10)
    return Network(space.blocks(resolve_architecture(space, ARCHITECTURE)), seed)


def photographs() -> dict[str, NDArray[Any]]:
    """Training and test photographs of different students: uint8 (n, 64, 64, 3) and classes.

    Image numbers follow the students, ten each, so every fifth block of a hundred numbers is the test split.
    """
    from PIL import Image

    parts: dict[str, list[Any]] = {"train": [], "train_labels": [], "test": [], "test_labels": []}
    with zipfile.ZipFile(common.SHARED / "sign_digits_imagefolder.zip") as archive:
        for name in sorted(archive.namelist()):
            if not name.upper().endswith(".JPG"):
                continue
            label, number = int(name.split("/")[1]), int(name.split("_")[-1].split(".")[0])
            image = Image.open(io.BytesIO(archive.read(name))).convert("RGB").resize((PIXELS, PIXELS))
            part = "test" if number // 100 % 5 == 4 else "train"
            parts[part].append(np.asarray(image))
            parts[f"{part}_labels"].append(label)
    return {name: np.stack(values) if name in ("train", "test") else np.array(values) for name, values in parts.items()}


def train(work: Path) -> None:
    """Leave weights.safetensors and photographs.safetensors in `work`."""
    data = photographs()
    model, generator = network(), torch.Generator().manual_seed(0)
    images = torch.from_numpy(PREPROCESSING.normalised(data["train"])).to(memory_format=torch.channels_last)
    labels = torch.from_numpy(data["train_labels"])
    steps = EPOCHS * (len(images) // BATCH)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=3e-5, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=steps)
    for epoch in range(EPOCHS):
        begin = time.perf_counter()
        for part in torch.randperm(len(images), generator=generator)[: len(images) // BATCH * BATCH].split(BATCH):
            shift = torch.randint(-6, 7, (2,), generator=generator).tolist()
            batch = torch.roll(images[part], shift, dims=(2, 3))
            loss = nn.functional.cross_entropy(model(batch), labels[part], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}/{EPOCHS}: loss {loss.item():.3f}, {time.perf_counter() - begin:.0f} s", flush=True)
    work.mkdir(parents=True, exist_ok=True)
    save_weights({name: value.contiguous() for name, value in model.state_dict().items()}, work / "weights.safetensors")
    save_file(data, work / "photographs.safetensors")


def export(work: Path, targets: list[str]) -> None:
    """Export one target after the other, as separate calls, and print all rows that `work` has by now."""
    model, data = network(), load_file(work / "photographs.safetensors")
    model.load_state_dict(load_weights(work / "weights.safetensors"))
    normalised = {name: PREPROCESSING.normalised(data[name]) for name in ("train", "test")}
    samples = Samples(normalised["test"], data["test_labels"], normalised["train"][::7])
    options = ExportOptions(cache_dir=work / "engines")
    rows_path = work / "rows.json"
    rows: dict[str, Any] = json.loads(rows_path.read_text()) if rows_path.exists() else {}
    for target in targets:
        if all(need.found for need in EXPORTERS[target].needs):
            metadata = Metadata(tuple("0123456789"), "a MobileNetV3 of ofa-mbv3-1.0", {}, "benchmark")
            (report,) = export_all(model, samples, [target], work / "exports", metadata, options)
            rows[target] = report.as_dict()
    rows_path.write_text(json.dumps(rows, indent=1))
    print_rows(rows)


def print_rows(rows: dict[str, Any]) -> None:
    """The table of docs/results/export.md."""
    print("| target | MB | s | parity by | max diff | mean diff | top-1 agreement | accuracy | latency here |")
    print("|---|---|---|---|---|---|---|---|---|")
    for target in (target for target in EXPORTERS if target in rows):
        row, parity = rows[target], rows[target]["parity"]
        figures = "not run | - | - | - | -"
        if parity["status"] != "not run":
            figures = (
                f"{parity['by'].split(' (')[0].split(',')[0]} | {parity['max_abs_diff']:.2g} |"
                f" {parity['mean_abs_diff']:.2g} | {parity['top1_agreement']:.2%} | {parity['accuracy_after']:.2%}"
            )
        latency = "-" if row["latency_ms"] is None else f"{row['latency_ms']:.2f} ms"
        print(f"| {target} | {row['size_bytes'] / 1e6:.2f} | {row['seconds']:.1f} | {figures} | {latency} |")


def main() -> None:
    """Parse the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("action", choices=["train", "export"])
    parser.add_argument("work", type=Path)
    parser.add_argument("--targets", default=",".join(EXPORTERS))
    arguments = parser.parse_args()
    if arguments.action == "train":
        train(arguments.work)
    else:
        export(arguments.work, arguments.targets.split(","))


if __name__ == "__main__":
    main()
