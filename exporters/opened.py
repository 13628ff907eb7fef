"""Any exported file as a classifier of pictures, by its own runtime and by what it says about itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from exporters.dependencies import require
from exporters.errors import RunFailed, WrongInput
from exporters.isolated import opened
from exporters.registry import EXPORTERS, Exporter
from exporters.request import Array, Preprocessing
from exporters.runtime import Runtime, probabilities

_LARGEST_PX: Final = 8192  # a file may say anything


class ResizeRule(BaseModel):
    """`exporters.request.Resize` as a file says it."""

    model_config = ConfigDict(frozen=True, strict=True)

    square_px: Annotated[int, Field(ge=1, le=_LARGEST_PX)]
    middle_px: Annotated[int, Field(ge=1, le=_LARGEST_PX)]
    grey_bits: Literal[8, 10, 12, 14, 16] | None = None

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if self.middle_px > self.square_px:
            raise ValueError(f"the middle {self.middle_px} pixels of {self.square_px} are none")
        return self


class ImageInput(BaseModel):
    """How a picture becomes the file's input, as its metadata say."""

    model_config = ConfigDict(frozen=True, strict=True)

    channels: Annotated[str, Field(pattern=r"^(RGB|grey|[1-9]\d{0,3})$")]
    height: Annotated[int, Field(ge=1, le=_LARGEST_PX)]
    width: Annotated[int, Field(ge=1, le=_LARGEST_PX)]
    layout: Literal["NHWC", "NCHW"]
    input: Literal["normalised float32", "uint8 pixels"]
    mean: list[float]
    std: list[float]
    resize: ResizeRule | None = None  # files that other programs wrote with export_all need not say

    @property
    def planes(self) -> int:
        """How many channels an image has."""
        return {"RGB": 3, "grey": 1}.get(self.channels) or int(self.channels)

    def prepared(self, pixels: Array) -> Array:
        """uint8 or float pixels from 0 to 255 (n, height, width, channels) as the file takes them."""
        if self.input == "uint8 pixels":
            pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
            return pixels if self.layout == "NHWC" else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        return Preprocessing(tuple(self.mean), tuple(self.std)).normalised(pixels)


@dataclass(frozen=True, eq=False)
class ModelFile:
    """An opened file. `labels` may be empty; `probabilities` says whether its outputs are such already."""

    path: Path
    runtime: Runtime
    labels: tuple[str, ...]
    image: ImageInput
    probabilities: bool

    def run(self, pixels: Array) -> tuple[Array, float | None]:
        """Outputs (n, classes) of pixels (n, height, width, channels), and the file's `latency_ms`.

        Pixels are uint8, or float from 0 to 255 where they were scaled without being rounded.
        Raises WrongInput for pixels of another shape, and RunFailed where the outputs are none of a classifier.
        """
        wanted = (self.image.height, self.image.width)
        plain = pixels.dtype == np.uint8 or pixels.dtype.kind == "f"
        if not plain or pixels.ndim != 4 or pixels.shape[1:3] != wanted:
            raise WrongInput(
                f"pixels are {pixels.dtype} {pixels.shape};"
                f" accepted are uint8 or float (n, {wanted[0]}, {wanted[1]}, c)"
            )
        inputs = self.image.prepared(pixels)
        outputs = self.runtime.run(inputs)
        self._check(outputs, len(inputs))
        return outputs, self.latency_ms

    @cached_property
    def latency_ms(self) -> float | None:
        """Milliseconds of one image here by `exporters.stopwatch`, measured once; None where the runtime here is not
        one that a product would use (Core ML and Core AI outside macOS)."""
        nothing = np.zeros((1, self.image.height, self.image.width, self.image.planes), np.uint8)
        return self.runtime.latency_ms(self.image.prepared(nothing))

    def _check(self, outputs: Array, images: int) -> None:
        if outputs.ndim != 2 or len(outputs) != images or outputs.shape[1] != (len(self.labels) or outputs.shape[1]):
            labels = f"; it has {len(self.labels)} labels" if self.labels else ""
            raise RunFailed(f"{self.path} returns shape {outputs.shape} for {images} images{labels}")
        if outputs.size == 0 or not np.isfinite(outputs).all():
            raise RunFailed(f"{self.path} returns NaN, infinity or nothing")

    def classify(self, pixels: Array) -> tuple[Array, float | None]:
        """As `run`, with the outputs as probabilities (n, classes)."""
        outputs, milliseconds = self.run(pixels)
        return outputs if self.probabilities else probabilities(outputs), milliseconds


def open_file(path: Path, own: Sequence[Exporter] = ()) -> ModelFile:
    """The exported file at `path`, ready to run on this machine; `own` are exporters of one's own.

    An engine has no metadata: the export.json beside it has them. Raises WrongInput for what is no exported
    file or does not say how its images are prepared, MissingDependency with the pip line, CannotRun, or RunFailed
    where it crashes the process that opens it.
    """
    exporter = _exporter(path, own)
    require(path.name, exporter.runs_with)
    (*_, runtime) = opened(exporter, path)  # the last is the closest to the product's
    metadata = runtime.metadata or _beside(path)
    try:
        image = ImageInput.model_validate_json(metadata.get("preprocessing", ""))
        labels = tuple(str(label) for label in json.loads(metadata.get("labels", "[]")))
    except (ValidationError, ValueError, TypeError) as error:
        raise WrongInput(
            f"{path} does not say how its images are prepared; export it again with this version"
        ) from error
    if image.input == "normalised float32" and not image.mean:
        raise WrongInput(f"{path} was written without mean and deviation; export it with Metadata(mean=…, std=…)")
    return ModelFile(path, runtime, labels, image, metadata.get("output") == "probabilities")


def _exporter(path: Path, own: Sequence[Exporter]) -> Exporter:
    if not path.exists():
        raise WrongInput(f"no model file {str(path)!r}")
    if not path.is_file() and not path.is_dir():  # a fifo never ends, and neither does /dev/zero
        raise WrongInput(f"{path} is neither a file nor a folder")
    suffixes: dict[str, Exporter] = {}
    for exporter in (*own, *EXPORTERS.values()):
        suffixes.setdefault(exporter.suffix, exporter)
    found = suffixes.get(path.suffix)
    if found is None:
        raise WrongInput(f"{path} is no exported model; accepted are {', '.join(suffixes)}")
    return found


def _beside(path: Path) -> dict[str, str]:
    from exporters import manifest

    return dict(manifest.read(path.parent).metadata)
