"""RandAugment (Cubuk et al. 2020): each image is changed by some of fourteen operations drawn for it alone.

Ranges are those of the paper's code. An operation takes float images (m, 3, h, w) in 0..1, and for each a strength
from -1 to 1, whose sign is a direction where the operation has one.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

OPERATIONS: Final = 2  # an image
_GREY: Final = (0.299, 0.587, 0.114)  # how bright red, green and blue look (ITU-R BT.601)
_FURTHEST: Final = 150 / 331  # of a translation, in shares of the side
_LEVELS: Final = 256


def rand_augment(images: Tensor, draws: Tensor, magnitude: float) -> Tensor:
    """`images` after OPERATIONS random operations each, at `magnitude` 0 to 1 (the paper's 9 of 30 is 0.3).

    `draws` (m, 2 * OPERATIONS) in 0..1 decide: for each turn the operation, then the direction.
    """
    images = images.clone()
    names = list(_OPERATIONS)
    for turn in range(OPERATIONS):
        chosen = (draws[:, 2 * turn] * len(names)).long()
        strengths = torch.where(draws[:, 2 * turn + 1] < 0.5, -magnitude, magnitude)
        for number, name in enumerate(names):
            where = (chosen == number).nonzero().flatten()
            if len(where):
                images[where] = _OPERATIONS[name](images[where], strengths[where]).clamp(0, 1)
    return images


def grey(images: Tensor) -> Tensor:
    """How bright each pixel looks, (m, 1, h, w)."""
    return (images * images.new_tensor(_GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _moved(images: Tensor, matrix: list[list[Tensor]]) -> Tensor:
    """Each image seen through its own 2 x 3 matrix of coordinates from -1 to 1; black comes from outside."""
    theta = torch.stack([torch.stack([cell.expand(len(images)) for cell in row], 1) for row in matrix], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _rotate(images: Tensor, strength: Tensor) -> Tensor:
    angle, none = strength * math.radians(30), strength.new_zeros(())
    return _moved(images, [[angle.cos(), -angle.sin(), none], [angle.sin(), angle.cos(), none]])


def _sheared(rows: bool) -> Callable[[Tensor, Tensor], Tensor]:
    def shear(images: Tensor, strength: Tensor) -> Tensor:
        one, none, slope = strength.new_ones(()), strength.new_zeros(()), 0.3 * strength
        return _moved(images, [[one, none if rows else slope, none], [slope if rows else none, one, none]])

    return shear


def _translated(rows: bool) -> Callable[[Tensor, Tensor], Tensor]:
    def translate(images: Tensor, strength: Tensor) -> Tensor:
        one, none, way = strength.new_ones(()), strength.new_zeros(()), 2 * _FURTHEST * strength
        return _moved(images, [[one, none, none if rows else way], [none, one, way if rows else none]])

    return translate


def _away_from(blurred: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Images blended with what `blurred` makes of them, by a factor of 1 - 0.9 to 1 + 0.9."""

    def enhance(images: Tensor, strength: Tensor) -> Tensor:
        factor = (1 + 0.9 * strength).view(-1, 1, 1, 1)
        return torch.lerp(blurred(images).expand_as(images), images, factor)

    return enhance


def _smooth(images: Tensor) -> Tensor:
    """A 3 x 3 average that weighs the middle five times; the edge stays as it is."""
    kernel = images.new_ones(3, 3)
    kernel[1, 1] = 5
    inner = F.conv2d(images, (kernel / kernel.sum()).expand(3, 1, 3, 3), groups=3)
    smoothed = images.clone()
    smoothed[:, :, 1:-1, 1:-1] = inner
    return smoothed


def _posterize(images: Tensor, strength: Tensor) -> Tensor:
    levels = (2 ** (8 - (4 * strength.abs()).round())).view(-1, 1, 1, 1)
    return (images * 255 / _LEVELS * levels).floor() / levels * _LEVELS / 255


def _solarize(images: Tensor, strength: Tensor) -> Tensor:
    return torch.where(images > (1 - strength.abs()).view(-1, 1, 1, 1), 1 - images, images)


def _autocontrast(images: Tensor, _: Tensor) -> Tensor:
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1 / _LEVELS), images)


def _equalize(images: Tensor, _: Tensor) -> Tensor:
    """Each channel's values replaced by the share of its pixels that are at most as bright."""
    pixels = (images * 255).round().long().flatten(2)
    counts = torch.zeros(*pixels.shape[:2], _LEVELS).scatter_add_(2, pixels, torch.ones_like(pixels, dtype=torch.float))
    shares = counts.cumsum(2)
    first = shares.gather(2, pixels.amin(2, keepdim=True))
    spread = pixels.shape[2] - first
    equal = (shares.gather(2, pixels) - first) / spread.clamp(min=1)
    return torch.where(spread > 0, equal, images.flatten(2)).view_as(images)


_OPERATIONS: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "identity": lambda images, _: images,
    "rotate": _rotate,
    "shear rows": _sheared(rows=True),
    "shear columns": _sheared(rows=False),
    "translate rows": _translated(rows=True),
    "translate columns": _translated(rows=False),
    "brightness": _away_from(torch.zeros_like),
    "colour": _away_from(grey),
    "contrast": _away_from(lambda images: grey(images).mean((2, 3), keepdim=True)),
    "sharpness": _away_from(_smooth),
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
