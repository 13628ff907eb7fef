"""Pictures classified by an exported file, made to its input exactly as the run made its own images."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from exporters.opened import ImageInput, ModelFile, ResizeRule

TOP: Final = 5
_MODES: Final = {"RGB": "RGB", "grey": "L"}


@dataclass(frozen=True, slots=True)
class Classification:
    """The likeliest classes of a picture with their probabilities, best first, and the milliseconds of one run here.

    The time is None where the runtime here is not one that a product would use.
    """

    top: tuple[tuple[str, float], ...]
    milliseconds: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """An opened file that takes pictures."""

    file: "ModelFile"

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each class; empty where the file has none."""
        return self.file.labels

    def probabilities(self, picture: Path | str) -> NDArray[np.float32]:
        """Of each class, shape (classes,). Raises PipelineError for what is no picture."""
        return self._run(Path(picture))[0]

    def classify(self, picture: Path | str) -> Classification:
        """The five likeliest classes. Raises PipelineError for what is no picture."""
        probabilities, milliseconds = self._run(Path(picture))
        order = np.argsort(-probabilities, kind="stable")[:TOP]
        names = self.labels or tuple(map(str, range(len(probabilities))))
        return Classification(tuple((names[index], float(probabilities[index])) for index in order), milliseconds)

    def _run(self, picture: Path) -> tuple[NDArray[np.float32], float | None]:
        outputs, milliseconds = self.file.classify(input_pixels(picture, self.file.image))
        return outputs[0], milliseconds


def open_classifier(model: Path | str) -> Classifier:
    """An exported file, or the first verified file of a run or an export folder (32-bit if any), ready for pictures.

    Raises PipelineError where a folder holds none, and what `exporters.open_file` raises.
    """
    from exporters import open_file

    return Classifier(open_file(_file(Path(model))))


def input_pixels(path: Path, wanted: "ImageInput") -> NDArray[Any]:
    """A picture as pixels from 0 to 255, (1, height, width, channels), by the rule that the file tells.

    A file without a rule gets the largest middle of its input's proportions. Raises PipelineError for what is no
    picture, and for inputs of other than 1 or 3 channels.
    """
    if not path.is_file():
        raise PipelineError(f"no picture {str(path)!r}")
    if wanted.channels not in _MODES:
        raise PipelineError(f"the model takes {wanted.channels} channels; pictures have 1 or 3")
    if wanted.resize is None or wanted.channels != "RGB":
        return _middle(path, wanted)
    return _as_in_the_run(path, wanted, wanted.resize)


def _as_in_the_run(path: Path, wanted: "ImageInput", rule: "ResizeRule") -> NDArray[Any]:
    """What `data.prepare` stores of a picture, the part of it that networks see, scaled as for them."""
    from pipeline.data.pictures import Deep, depth_of, square

    stored = square(str(path), path, rule.square_px, rule.grey_bits)
    if isinstance(stored, Deep):
        stored = square(str(path), path, rule.square_px, depth_of(stored.peak))
    first = (rule.square_px - rule.middle_px) // 2
    seen = cast("NDArray[np.uint8]", stored)[first : first + rule.middle_px, first : first + rule.middle_px]
    if seen.shape[:2] == (wanted.height, wanted.width):
        return seen[None]
    import torch

    from pipeline.supernets.augment import resize

    planes = torch.from_numpy(np.array(seen)).permute(2, 0, 1)[None].float()
    return np.ascontiguousarray(resize(planes, wanted.height).permute(0, 2, 3, 1).numpy())


def _middle(path: Path, wanted: "ImageInput") -> NDArray[np.uint8]:
    from PIL import Image

    from pipeline.data.pictures import open_picture

    picture = open_picture(str(path), path)
    scale = min(picture.width / wanted.width, picture.height / wanted.height)
    width, height = wanted.width * scale, wanted.height * scale
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    size, box = (wanted.width, wanted.height), (left, top, left + width, top + height)
    scaled = picture.resize(size, Image.Resampling.BILINEAR, box).convert(_MODES[wanted.channels])
    return np.asarray(scaled, dtype=np.uint8).reshape(1, wanted.height, wanted.width, -1)


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
    best = min(verified, key=lambda entry: entry.precision != "fp32")  # what reported figures are of
    return folder / str(best.path)
