"""`pocketnas predict`: pictures classified by an exported file, in its own runtime."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import foreign
from pipeline.cli.output import emit
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from exporters.opened import ImageInput

TOP: Final = 5


def predict(
    model: Annotated[Path, typer.Argument(metavar="RUN|FILE", help="An exported file, or a run or folder of some.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Pictures.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Classify pictures with an exported file, executed by its own runtime; the five likeliest classes of each.

    Labels, size, mean and deviation are read from the file; a run's file is the first that was verified.
    """
    from exporters import open_file

    path = _file(model)
    opened = open_file(path)
    document: list[dict[str, Any]] = []
    for image in images:
        probabilities, milliseconds = opened.classify(_pixels(image, opened.image))
        order = np.argsort(-probabilities[0], kind="stable")[:TOP]
        labels = opened.labels or tuple(str(number) for number in range(probabilities.shape[1]))
        top = [{"label": labels[number], "probability": float(probabilities[0][number])} for number in order]
        document.append({"image": str(image), "top": top, "milliseconds": milliseconds})
    emit(document, as_json, lambda console: _render(console, document, f"{path}: {opened.runtime.by}"))


def _file(model: Path) -> Path:
    """The exported file that is meant by a file, an export folder or a run."""
    from exporters import manifest
    from exporters.manifest import MANIFEST

    folder = model / "exports" if (model / "exports").is_dir() else model
    if not (folder / MANIFEST).is_file():
        if model.is_dir() and not model.suffix:
            raise PipelineError(f"{model} holds no exported files; 'pocketnas export {model} --to onnx' writes one")
        return model
    entries = [entry for entry in manifest.read(folder).exports if entry.path is not None]
    verified = [entry for entry in entries if entry.parity.status == "passed"]
    if not verified:
        raise PipelineError(f"no file of {folder} was verified; name one of its files")
    return folder / str(verified[0].path)


def _pixels(path: Path, wanted: "ImageInput") -> Any:
    """The picture as uint8 (1, height, width, channels): its middle, as in training."""
    from PIL import Image

    from pipeline.data.pictures import open_picture

    if not path.is_file():
        raise PipelineError(f"no picture {str(path)!r}")
    colours = {"RGB": "RGB", "grey": "L"}.get(wanted.channels)
    if colours is None:
        raise PipelineError(f"the model takes {wanted.channels} channels; pictures have 1 or 3")
    picture = open_picture(str(path), path)
    scale = min(picture.width / wanted.width, picture.height / wanted.height)
    width, height = wanted.width * scale, wanted.height * scale
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    size, box = (wanted.width, wanted.height), (left, top, left + width, top + height)
    pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box).convert(colours), dtype=np.uint8)
    return pixels.reshape(1, wanted.height, wanted.width, -1)


def _render(console: Console, document: list[dict[str, Any]], title: str) -> None:
    table = Table(title=Text(foreign.terminal(title)), title_justify="left")
    for heading in ("image", "label", "probability", "here"):
        table.add_column(heading)
    for entry in document:
        milliseconds = entry["milliseconds"]
        here = "-" if milliseconds is None else f"{milliseconds:.2f} ms"
        for place, found in enumerate(entry["top"]):
            first = place == 0
            cells = (
                entry["image"] if first else "",
                found["label"],
                f"{found['probability']:.1%}",
                here if first else "",
            )
            table.add_row(*(Text(foreign.terminal(cell)) for cell in cells))
    console.print(table)
