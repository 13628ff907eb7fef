"""Image augmentation and scaling as tensor operations, on whole batches."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.errors import PipelineError


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to training images at random.

    `shift`: up to this share of the height and width, from pixels kept beyond what networks see as long as there are
    any, then the edge pixels filling what is left open (pad and crop);
    `flip`: left and right swapped for half of the images; `brightness`, `contrast`: factors drawn from
    1 - value to 1 + value.
    """

    shift: float = 0.125
    flip: bool = True
    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shift", "brightness", "contrast"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise PipelineError(f"augmentation {name} is {value}; it is a share, from 0 up to below 1")

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """All that is random about `n` images, shape (n, 5) in 0..1: a part of the rows is a part of the images."""
        return torch.rand(n, 5, generator=generator)

    def geometry(self, images: Tensor, draws: Tensor, seen_px: int | None = None) -> Tensor:
        """Shift and flip of uint8 images (n, h, w, 3): one gather, a different one for each image.

        Of images kept larger than networks see, (n, seen_px, seen_px, 3) around the shifted middle.
        """
        n, height, width, _ = images.shape
        rows = self._indices(height, seen_px or height, draws[:, 0])
        columns = self._indices(width, seen_px or width, draws[:, 1])
        if self.flip:
            columns = torch.where(draws[:, 2:3] < 0.5, columns.flip(1), columns)
        return images[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]

    def colour(self, images: Tensor, draws: Tensor) -> Tensor:
        """Brightness and contrast of float images (n, 3, h, w) in 0..1."""
        brightness, contrast = (2 * draws[:, 3:] - 1).view(len(images), 2, 1, 1, 1).unbind(1)
        if self.brightness:
            images = images * (1 + self.brightness * brightness)
        if self.contrast:
            grey = images.mean(dim=(1, 2, 3), keepdim=True)
            images = (images - grey) * (1 + self.contrast * contrast) + grey
        return images

    def _indices(self, kept: int, seen: int, draws: Tensor) -> Tensor:
        """The source, of `kept` rows or columns, of each of `seen` ones after a random shift, shape (n, seen)."""
        reach = max(round(self.shift * seen), (kept - seen) // 2 if self.shift else 0)
        offsets = (draws * (2 * reach + 1)).long() - reach + (kept - seen) // 2
        return (torch.arange(seen) + offsets[:, None]).clamp_(0, kept - 1)


def resize(images: Tensor, size: int) -> Tensor:
    """Float images (n, 3, h, w) scaled to (n, 3, size, size), bilinear, antialiased where they shrink."""
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    shrinks = size < max(height, width)
    return F.interpolate(images, (size, size), mode="bilinear", antialias=shrinks, align_corners=False)
