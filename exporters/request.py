"""What an export is asked to do: the network, real images, options, and what to write into the file."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from exporters.errors import WrongInput

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
Progress = Callable[[int, int, str], None]  # done, total, what
Precision = Literal["fp32", "fp16", "int8"]
INPUT_NAME: Final = "image"
GPU_TARGETS: Final = ("SM80", "SM86", "SM89", "SM120")


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Real images: what parity, accuracy and calibration are measured on.

    `images` and `calibration` are float32 (n, channels, height, width), normalised as the network wants
    them; `labels` are the true classes (n,) of `images`. Calibration images come from the training split.
    """

    images: Array
    labels: Array | None = None
    calibration: Array | None = None

    def __post_init__(self) -> None:
        for name, images in (("images", self.images), ("calibration", self.calibration)):
            if images is not None and (images.ndim != 4 or images.dtype != np.float32 or len(images) == 0):
                raise WrongInput(
                    f"samples.{name} are {images.dtype} of shape {images.shape}; accepted are float32"
                    " (n, channels, height, width) with n > 0"
                )
        if self.labels is not None:
            if self.labels.shape != (len(self.images),):
                raise WrongInput(f"samples have {len(self.images)} images but labels of shape {self.labels.shape}")
            whole = self.labels.dtype.kind in "iu"
            if not whole or self.labels.min() < 0:
                told = f"reach down to {self.labels.min()}" if whole else f"are {self.labels.dtype}"
                raise WrongInput(f"samples.labels {told}; accepted are class numbers, 0 and above")
        if self.calibration is not None and self.calibration.shape[1:] != self.images.shape[1:]:
            raise WrongInput(f"calibration images are {self.calibration.shape[1:]}, the others {self.images.shape[1:]}")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Folded into the file: uint8 pixels in `layout` become (pixel / 255 - mean) / std, per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: Literal["NHWC", "NCHW"] = "NHWC"

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean or min(self.std) <= 0:
            raise WrongInput(f"mean {self.mean} and std {self.std} need one value a channel, std above 0")
        if self.layout not in ("NHWC", "NCHW"):
            raise WrongInput(f"layout {self.layout!r} is unknown; known are NHWC and NCHW")

    def pixels(self, images: Array) -> Array:
        """The uint8 pixels, in `layout`, nearest to normalised float32 NCHW `images`."""
        values = images * _per_channel(self.std) + _per_channel(self.mean)
        pixels = np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)) if self.layout == "NHWC" else pixels

    def normalised(self, pixels: Array) -> Array:
        """The float32 NCHW images that the network sees for `pixels` (uint8, or float from 0 to 255)."""
        planes = pixels.transpose(0, 3, 1, 2) if self.layout == "NHWC" else pixels
        values = (planes / 255 - _per_channel(self.mean)) / _per_channel(self.std)
        return np.ascontiguousarray(values, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Resize:
    """How a picture of any size becomes the input: its middle square, upright, scaled to `square_px` (bicubic), of
    that the middle `middle_px`, scaled to the input (bilinear, antialiased).

    Greys of more than eight bits are taken as ones of `grey_bits`; None: as their own largest value suggests.
    """

    square_px: int
    middle_px: int
    grey_bits: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.middle_px <= self.square_px:
            raise WrongInput(f"the middle {self.middle_px} pixels of a square of {self.square_px} are none")

    def document(self) -> dict[str, Any]:
        """The rule as data, with its filters named."""
        return {
            "crop": "middle square of the upright picture",
            "square_px": self.square_px,
            "square_filter": "bicubic",
            "middle_px": self.middle_px,
            "input_filter": "bilinear, antialiased",
            "grey_bits": self.grey_bits,
        }


def image_input(
    shape: tuple[int, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    resize: Resize | None = None,
    folded: Preprocessing | None = None,
) -> dict[str, Any]:
    """How a picture becomes an input of `shape` (channels, height, width), as data; `folded` is done by the file."""
    channels, height, width = shape
    document = {
        "channels": {1: "grey", 3: "RGB"}.get(channels, str(channels)),
        "height": height,
        "width": width,
        "layout": "NCHW" if folded is None else folded.layout,
        "input": "normalised float32" if folded is None else "uint8 pixels",
        "mean": list(mean if folded is None else folded.mean),
        "std": list(std if folded is None else folded.std),
    }
    return document if resize is None else document | {"resize": resize.document()}


def usual_range(outputs: Array) -> float:
    """Of one image's outputs (n, classes): from the smallest to the largest, the median over images; never 0."""
    return max(float(np.median(np.ptp(outputs, axis=1))), float(np.finfo(np.float32).tiny))


def _per_channel(values: tuple[float, ...]) -> Array:
    return np.asarray(values, dtype=np.float64)[None, :, None, None]


@dataclass(frozen=True, slots=True)
class Metadata:
    """Written into the file where the format has a place for it.

    `mean` and `std` are those that the network's images are normalised with, one a channel, of values from 0 to 1;
    `resize` is how pictures were made to the size of its input.
    """

    labels: tuple[str, ...] = ()
    architecture: str = ""
    budget: Mapping[str, Any] = field(default_factory=dict)
    source_sha256: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: Resize | None = None

    def __post_init__(self) -> None:
        wrong = [label for label in self.labels if not isinstance(label, str) or not label]
        if wrong:
            raise WrongInput(f"label {wrong[0]!r} is no text; accepted is one non-empty text a class")
        twice = sorted({label for label in self.labels if self.labels.count(label) > 1})
        if twice:
            raise WrongInput(f"label {twice[0]!r} stands for {self.labels.count(twice[0])} classes; each needs its own")
        if self.mean or self.std:
            Preprocessing(self.mean, self.std)

    def as_strings(self) -> dict[str, str]:
        """What goes into a file: every value as text, lists and mappings as JSON."""
        return {
            "architecture": self.architecture,
            "budget": json.dumps(dict(self.budget), sort_keys=True),
            "labels": json.dumps(list(self.labels), ensure_ascii=False),
            "source_sha256": self.source_sha256,
        }


@dataclass(frozen=True, slots=True)
class Threshold:
    """What parity must reach: fractions between 0 and 1; None means not limited.

    The largest difference may be `max_abs_diff` or `max_rel_diff` times the largest absolute output of the
    network, whichever is more: rounding grows with the numbers. Where the network itself has two classes no farther
    apart than `tie` times the usual range of its outputs, either counts as agreement; the root mean square of all
    differences may be `max_rms_diff` times that range.
    """

    max_abs_diff: float | None
    top1_agreement: float
    accuracy_drop: float | None = None
    max_rel_diff: float = 0.0
    tie: float = 0.0
    max_rms_diff: float | None = None

    def at_error(self, rms: float) -> "Threshold":
        """Where `tie` and `max_rms_diff` are multiples of what the precision itself costs: for a network whose outputs
        it changes by `rms` times their usual range, in the mean square. Infinite: nothing is known, nothing excused."""
        if not math.isfinite(rms):
            return replace(self, tie=0.0, max_rms_diff=None)
        most = self.max_rms_diff
        return replace(self, tie=self.tie * rms, max_rms_diff=None if most is None else most * rms)

    def allowed_difference(self, scale: float) -> float | None:
        """For outputs whose largest absolute value is `scale`."""
        return None if self.max_abs_diff is None else max(self.max_abs_diff, self.max_rel_diff * scale)


# fp16: two outputs differ by sqrt(2) times the error of one, and by twice that in 1 case of 20.
THRESHOLDS: Final[Mapping[Precision, Threshold]] = {
    "fp32": Threshold(max_abs_diff=1e-4, top1_agreement=1.0, max_rel_diff=1e-5),
    "fp16": Threshold(max_abs_diff=None, top1_agreement=0.995, tie=2 * 2**0.5, max_rms_diff=4.0),
    "int8": Threshold(max_abs_diff=None, top1_agreement=0.98, accuracy_drop=0.005),
}


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How the files are written.

    `batch` None means any batch size; `ios` is Core ML's deployment target; `gpu_targets` are those of
    `tensorrt_rtx` (`tensorrt` builds for the GPU at hand); `cache_dir` keeps built engines (by default
    below ~/.cache); `predicted_ms` is a latency table's prediction, reported beside the measurement.
    """

    batch: int | None = 1
    softmax: bool = False
    preprocessing: Preprocessing | None = None
    opset: int = 17
    ios: int = 16
    gpu_targets: tuple[str, ...] = GPU_TARGETS
    cache_dir: Path | None = None
    predicted_ms: float | None = None
    thresholds: Mapping[Precision, Threshold] = field(default_factory=lambda: dict(THRESHOLDS))

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise WrongInput(f"batch {self.batch} is not possible; accepted are 1 and more, or None for any")
        if not 13 <= self.opset <= 20:
            raise WrongInput(f"opset {self.opset} is not possible; accepted are 13 to 20")
        if not 15 <= self.ios <= 18:
            raise WrongInput(f"iOS {self.ios} is not possible as Core ML target; accepted are 15 to 18")
        unknown = sorted(set(self.gpu_targets) - set(GPU_TARGETS))
        if unknown or not self.gpu_targets:
            raise WrongInput(f"GPU targets {unknown} are unknown; accepted are {', '.join(GPU_TARGETS)}")

    @property
    def output_name(self) -> str:
        """Of every file's output."""
        return "probabilities" if self.softmax else "logits"


@dataclass(frozen=True, slots=True, eq=False)
class ExportRequest:
    """One network on its way into files. `scratch` is a folder for intermediate files that others may reuse.

    `network_batch` is the only batch size that the network takes, None for any; `programs` keeps what torch
    exported already (`exporters.program`).
    """

    network: "torch.nn.Module"
    samples: Samples
    metadata: Metadata
    options: ExportOptions
    scratch: Path
    network_batch: int | None = None
    programs: dict[bool, Any] = field(default_factory=dict)

    def described(self) -> dict[str, str]:
        """What every file says about itself: the metadata, its output, and how an image becomes its input."""
        folded, metadata = self.options.preprocessing, self.metadata
        preprocessing = image_input(self.samples.images.shape[1:], metadata.mean, metadata.std, metadata.resize, folded)
        return {
            **self.metadata.as_strings(),
            "output": self.options.output_name,
            "preprocessing": json.dumps(preprocessing, sort_keys=True),
        }

    def file_inputs(self, images: Array) -> Array:
        """Normalised float32 NCHW `images` as the files take them: the same, or uint8 pixels."""
        preprocessing = self.options.preprocessing
        return images if preprocessing is None else preprocessing.pixels(images)
