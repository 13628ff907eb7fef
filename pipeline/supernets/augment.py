"""Image augmentation and scaling as tensor operations, on whole batches."""

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.supernets.randaugment import OPERATIONS, grey, rand_augment

_NARROWEST: Final = 3 / 4  # of the sides of a random crop (Szegedy et al. 2015, "Going deeper with convolutions")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to training images at random.

    `shift`: up to this share of the height and width, from pixels kept beyond what networks see as long as there are
    any, then the edge pixels filling what is left open (pad and crop);
    `crop_area`: below 1, instead of the shift: a crop of at least this share of all pixels kept, its sides between
    3 : 4 and 4 : 3, scaled to what networks see; `flip`: left and right swapped for half of the images;
    `brightness`, `contrast`, `saturation`: factors drawn from 1 - value to 1 + value; `randaugment`: the magnitude
    of RandAugment's operations, 0 leaves them out.
    """

    shift: float = 0.125
    flip: bool = True
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    crop_area: float = 1.0
    randaugment: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shift", "brightness", "contrast", "saturation"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise PipelineError(f"augmentation {name} is {value}; it is a share, from 0 up to below 1")
        if not 0 <= self.randaugment <= 1:
            raise PipelineError(f"augmentation randaugment is {self.randaugment}; it is a magnitude from 0 to 1")
        if not 0 < self.crop_area <= 1:
            raise PipelineError(f"augmentation crop_area is {self.crop_area}; it is a share, above 0 and at most 1")

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """All that is random about `n` images, shape (n, 12) in 0..1: a part of the rows is a part of the images."""
        # What came later is drawn later: trainings of older versions go on as they began.
        return torch.cat([torch.rand(n, columns, generator=generator) for columns in (5, 3, 2 * OPERATIONS)], 1)

    def __call__(self, images: Tensor, draws: Tensor, seen_px: int | None = None) -> Tensor:
        """uint8 images (n, h, w, 3) -> float32 (n, 3, seen_px, seen_px) in 0..1 (h x w by default), channels_last."""
        crops = self.crop_area < 1
        seen = self.resized_crops(images, draws, seen_px) if crops else unit(self.geometry(images, draws, seen_px))
        if self.randaugment:
            seen = rand_augment(seen, draws[:, 8:], self.randaugment)
        return self.colour(seen, draws)

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

    def resized_crops(self, images: Tensor, draws: Tensor, seen_px: int | None = None) -> Tensor:
        """Random crops and flips of uint8 images (n, h, w, 3), scaled: float32 (n, 3, seen_px, seen_px) in 0..1."""
        height, width = images.shape[1:3]
        area = self.crop_area + (1 - self.crop_area) * draws[:, 5]
        ratio = torch.exp(math.log(_NARROWEST) * (2 * draws[:, 6] - 1))
        tall, wide = ((area / ratio).sqrt().clamp(max=1) * height, (area * ratio).sqrt().clamp(max=1) * width)
        rows = _resampling(height, seen_px or height, draws[:, 0] * (height - tall), tall)
        columns = _resampling(width, seen_px or width, draws[:, 1] * (width - wide), wide)
        if self.flip:
            columns = torch.where(draws[:, 2].view(-1, 1, 1) < 0.5, columns.flip(1), columns)
        planes = unit(images).contiguous()
        cropped = rows[:, None] @ planes @ columns.transpose(1, 2)[:, None]
        return cropped.contiguous(memory_format=torch.channels_last)

    def colour(self, images: Tensor, draws: Tensor) -> Tensor:
        """Brightness, contrast and saturation of float images (n, 3, h, w) in 0..1."""
        brightness, contrast, saturation = (2 * draws[:, [3, 4, 7]] - 1).view(len(images), 3, 1, 1, 1).unbind(1)
        if self.brightness:
            images = images * (1 + self.brightness * brightness)
        if self.contrast:
            middle = images.mean(dim=(1, 2, 3), keepdim=True)
            images = (images - middle) * (1 + self.contrast * contrast) + middle
        if self.saturation:
            images = torch.lerp(grey(images).expand_as(images), images, 1 + self.saturation * saturation)
        return images

    def _indices(self, kept: int, seen: int, draws: Tensor) -> Tensor:
        """The source, of `kept` rows or columns, of each of `seen` ones after a random shift, shape (n, seen)."""
        reach = max(round(self.shift * seen), (kept - seen) // 2 if self.shift else 0)
        offsets = (draws * (2 * reach + 1)).long() - reach + (kept - seen) // 2
        return (torch.arange(seen) + offsets[:, None]).clamp_(0, kept - 1)


def unit(pixels: Tensor) -> Tensor:
    """uint8 (n, h, w, 3) -> float32 (n, 3, h, w) in 0..1; the memory order stays, so it is channels_last."""
    return pixels.permute(0, 3, 1, 2) / 255


def _resampling(size: int, out: int, start: Tensor, length: Tensor) -> Tensor:
    """Matrices (n, out, size) that scale `length` pixels from `start` on to `out`: linear, antialiased where they
    shrink, so that cropping, scaling and flipping images are two products."""
    scale = (length / out).view(-1, 1, 1)
    centres = start.view(-1, 1, 1) + (torch.arange(out).view(1, -1, 1) + 0.5) * scale - 0.5
    distance = (torch.arange(size).view(1, 1, -1) - centres).abs()
    weights = (1 - distance / scale.clamp(min=1)).clamp_(min=0)
    return weights / weights.sum(2, keepdim=True)


def resize(images: Tensor, size: int) -> Tensor:
    """Float images (n, 3, h, w) scaled to (n, 3, size, size), bilinear, antialiased where they shrink."""
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    shrinks = size < max(height, width)
    return F.interpolate(images, (size, size), mode="bilinear", antialias=shrinks, align_corners=False)
