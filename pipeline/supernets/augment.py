"""Image augmentation and scaling as tensor operations, on whole batches."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.errors import PipelineError


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to training images at random.

    `shift`: up to this share of the height and width, the edge pixels filling what is left open (pad and crop);
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

    def geometry(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Shift and flip of uint8 images (n, h, w, 3): one gather, a different one for each image."""
        n, height, width, _ = images.shape
        rows = self._indices(n, height, generator)
        columns = self._indices(n, width, generator)
        if self.flip:
            flipped = torch.rand(n, generator=generator) < 0.5
            columns = torch.where(flipped[:, None], columns.flip(1), columns)
        return images[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]

    def colour(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Brightness and contrast of float images (n, 3, h, w) in 0..1."""
        if self.brightness:
            images = images * self._factors(len(images), self.brightness, generator)
        if self.contrast:
            grey = images.mean(dim=(1, 2, 3), keepdim=True)
            images = (images - grey) * self._factors(len(images), self.contrast, generator) + grey
        return images

    def _indices(self, n: int, size: int, generator: torch.Generator) -> Tensor:
        reach = round(self.shift * size)
        offsets = torch.randint(-reach, reach + 1, (n, 1), generator=generator)
        return (torch.arange(size) + offsets).clamp_(0, size - 1)

    @staticmethod
    def _factors(n: int, reach: float, generator: torch.Generator) -> Tensor:
        return 1 + reach * (2 * torch.rand((n, 1, 1, 1), generator=generator) - 1)


def resize(images: Tensor, size: int) -> Tensor:
    """Float images (n, 3, h, w) scaled to (n, 3, size, size), bilinear, antialiased where they shrink."""
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    shrinks = size < max(height, width)
    return F.interpolate(images, (size, size), mode="bilinear", antialias=shrinks, align_corners=False)
