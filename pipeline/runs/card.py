"""What goes with the winner when it leaves the house: model card, labels, and preprocessing as data.

Names of classes, data and devices are other people's text: each file gets them so that they cannot be anything else.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latency_tables.files import sha256_of, write_atomic, write_json
from pipeline import foreign
from pipeline.foreign import markdown
from pipeline.gate.units import amount
from pipeline.ranking.proportion import wilson_interval
from pipeline.report.answers import class_rows
from pipeline.report.data import ReportData
from pipeline.report.story import accuracy_interval
from pipeline.runs.documents.finetune import Lengths
from pipeline.runs.documents.report import Summary
from pipeline.runs.run import Run
from pipeline.spaces.architecture import Architecture

if TYPE_CHECKING:
    from exporters.manifest import Entry

_LOAD: Final = """\
```python
from pipeline import open_classifier
open_classifier("FILE").classify("photo.jpg").top  # an exported file, or the run's folder: ((label, probability), …)
```

Weights as a PyTorch module (normalised float32 images in, logits out), and without pocketnas from a `.pt2` file:

```python
from pipeline import load_network
network = load_network("weights.safetensors")
```

```python
import torch
network = torch.export.load("model.pt2").module()
```
"""


def document_winner(run: Run, data: ReportData, summary: Summary) -> None:
    """Leave README.md, labels.txt and preprocessing.json in the winner's folder."""
    write_atomic(run.folder.labels, labels_text(run.dataset.classes).encode())
    write_json(run.folder.preprocessing, _preprocessing(run))
    write_atomic(run.folder.card, render_card(run, data, summary).encode())


def labels_text(labels: Iterable[str]) -> str:
    """One name a line, in the order of the outputs; a name that has line breaks or hidden characters shows them."""
    return "".join(f"{foreign.visible(label)}\n" for label in labels)


def _preprocessing(run: Run) -> dict[str, object]:
    """How a picture becomes the input: the same that every exported file carries."""
    from exporters import Resize, image_input

    images = run.dataset
    size = run.space.blocks(Architecture.parse(run.winner.arch))[0].in_size
    resize = Resize(images.size_px, images.seen_px, images.depth)
    return {"schema_version": 1, **image_input((3, size, size), images.mean, images.std, resize)}


def render_card(run: Run, data: ReportData, summary: Summary) -> str:
    """The model card, in Markdown."""
    classes = "" if data.images is None else f" of {data.images.classes} classes"
    parts = [
        "---\npipeline_tag: image-classification\ntags: [pocketnas]\n---\n",
        f"# Classifier{classes}: {markdown(data.title)}\n",
        f"Made by pocketnas by searching for the most accurate network inside a budget. Architecture"
        f" `{data.winner.arch}`; class names in `labels.txt`, preparation of pictures in `preprocessing.json`.\n",
        "## Figures\n",
        _table(("", "winner", "limit"), _figures(data)),
        "## Loading it\n",
        _LOAD,
        "## Accuracy by class\n",
        _by_class(data),
        "## Data\n",
        _list(_data(run, data)),
        "## Training\n",
        _list(_training(run)),
        "## Device\n",
        _list(_device(run, data)),
        "## Weights that training started from\n",
        _list(_start(run)),
        "## Files\n",
        _table(("file", "bytes", "SHA-256", "parity"), _files(run, summary)),
        "## Limits of use\n",
        "The figures hold for pictures like those of the test split; other cameras, places or seasons may differ. The"
        " licence of the data and of the start weights, where there are any, is yours to keep to.\n",
    ]
    return "\n".join(parts)


def _figures(data: ReportData) -> list[Sequence[str]]:
    winner, budget, interval = data.winner, data.budget, accuracy_interval(data)

    def limit(name: str) -> str:
        if name not in budget:
            return "none"
        return f"{budget[name]:.2%}" if name == "accuracy" else amount(name, budget[name])

    spread = "" if interval is None else f" ({interval[0]:.2%} to {interval[1]:.2%} with 95 % confidence)"
    measured = "not measured" if winner.measured_ms is None else amount("latency_ms", winner.measured_ms)
    rows = [
        ("test accuracy", f"{winner.accuracy:.2%}{spread}", limit("accuracy")),
        ("latency, predicted", amount("latency_ms", winner.predicted_ms), limit("latency_ms")),
        (f"latency, measured on {markdown(data.device)}", measured, limit("latency_ms")),
        ("computation", amount("macs", winner.macs), limit("macs")),
        ("parameters", amount("params", winner.params), limit("params")),
    ]
    if data.baseline is not None:
        mean = sum(data.baseline.accuracies) / len(data.baseline.accuracies)
        low, high = data.baseline.improvement_low, data.baseline.improvement_high
        count = len(data.baseline.accuracies)
        beside = f"{mean:.2%}; the winner is {data.baseline.improvement_percent:+.2f} % ({low:+.2f} to {high:+.2f})"
        rows.append((f"{count} random networks inside the limits", beside, ""))
    return list(rows)


def _by_class(data: ReportData) -> str:
    if data.answers is None:
        return "Not kept by the version that made this run.\n"
    rows = [
        (
            markdown(name),
            str(images),
            f"{right / images:.2%}" if images else "no image",
            "{:.2%} to {:.2%}".format(*wilson_interval(right, images)) if images else "",
        )
        for name, images, right in class_rows(data.answers)
    ]
    return _table(("class", "test images", "accuracy", "95 %"), rows)


def _data(run: Run, data: ReportData) -> list[str]:
    counts, digest = data.images, _recorded(run, "data", "data/data.json")
    lines = [f"Images: {markdown(Path(data.data).name or data.data)}"]  # a path may tell more than its owner means
    if counts is not None:
        lines.append(f"{counts.train:,} to train, {counts.search:,} to choose, {counts.test:,} to test, read once")
    return [*lines, f"Prepared images: `data.json` has SHA-256 `{digest}`"] if digest else lines


def _training(run: Run) -> list[str]:
    train, winner = run.config.train, run.winner
    epochs = next((entry.epochs for entry in winner.trained if entry.arch == winner.arch), None)
    lines = [
        f"Supernet: recipe {markdown(train.recipe)}, batch {train.batch_size}, peak learning rate"
        f" {train.learning_rate:g}, label smoothing {train.label_smoothing:g}, mixup {train.mixup:g}",
        f"Search: {markdown(run.candidates.method)}, {run.candidates.evaluations} networks judged,"
        f" ranked by {markdown(run.candidates.ranked_by)}",
        f"Seed: {run.config.seed}, which decides every random choice",
    ]
    if epochs is not None:
        told = f"The winner alone: {epochs:g} epochs, {run.config.finetune.optimizer}, from shared weights"
        lines.insert(1, told + _further(run))
    return lines


def _further(run: Run) -> str:
    """That the best was trained on afterwards, where the run's minutes left time for it."""
    file = run.folder.winner / "lengths.json"
    epochs = Lengths.load(file).further_epochs if file.exists() else 0.0
    return f"; then {epochs:g} more, kept where they helped" if epochs else ""


def _device(run: Run, data: ReportData) -> list[str]:
    table, error = run.table, data.table_error
    told = "unknown: no network was held out" if error is None else f"{error.mean_percent:.1f} % on average"
    beside = (
        ""
        if error is None
        else (
            f", on {error.networks} networks that the table was not made from; 95 % took {error.low:.2f} to"
            f" {error.high:.2f} times what was predicted"
        )
    )
    return [
        f"{markdown(table.device.name)}, table of {markdown(table.provenance.created)}",
        f"Error of the latency table: {told}{beside}",
    ]


def _start(run: Run) -> list[str]:
    start = run.start
    if start is None:
        return ["None: random weights"]
    about = start.model_extra or {}
    source = str(about.get("source") or "")
    if source.startswith("file "):  # whose path tells of the machine; what it was made from may follow
        source = "a file" + source[source.index(", from ") :] if ", from " in source else "a file"
    known = [("source", source), *((name, about.get(name)) for name in ("licence", "sha256"))]
    return [
        f"{markdown(start.name)}",
        *(f"{name}: {markdown(str(value)) if value else 'nobody says'}" for name, value in known),
    ]


def _files(run: Run, summary: Summary) -> list[Sequence[str]]:
    """Those of this folder that were made before the card, then the exported ones."""
    own = [file for file in sorted(run.folder.winner.glob("*")) if file.is_file() and file != run.folder.card]
    rows = [(f"`{file.name}`", f"{file.stat().st_size:,}", f"`{sha256_of(file)}`", "") for file in own]
    return [*rows, *(_exported(entry) for entry in summary.exports if entry.path is not None)]


def _exported(entry: "Entry") -> Sequence[str]:
    return (f"`../exports/{entry.path}`", f"{entry.size_bytes:,}", f"`{entry.sha256}`", entry.parity.status)


def _recorded(run: Run, stage: str, name: str) -> str | None:
    record = run.folder.record(stage)
    return None if record is None else record.outputs.get(name)


def _list(lines: Iterable[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
