"""RandAugment against what its operations are known to do."""

import pytest
import torch
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.supernets.augment import Augmentation
from pipeline.supernets.randaugment import _OPERATIONS, OPERATIONS, grey, rand_augment


def applied(name: str, image: Tensor, strength: float) -> Tensor:
    """What one operation makes of one image (3, h, w)."""
    return _OPERATIONS[name](image[None], torch.tensor([strength]))[0]


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 33, 33, generator=torch.Generator().manual_seed(0))


GEOMETRY = ("rotate", "shear rows", "shear columns", "translate rows", "translate columns")
CHANGED = ("brightness", "colour", "contrast", "sharpness", "posterize", "solarize")


@pytest.mark.parametrize("name", ["identity", *GEOMETRY, *CHANGED])
def test_no_strength_changes_nothing(name: str, image: Tensor) -> None:
    torch.testing.assert_close(applied(name, (image * 255).round() / 255, 0.0), (image * 255).round() / 255)


@pytest.mark.parametrize("name", GEOMETRY)
def test_a_movement_and_its_opposite_meet_in_the_middle(name: str) -> None:
    spot = torch.zeros(3, 65, 65)
    spot[:, 24:41, 24:41] = 1
    there = applied(name, spot, 0.5)
    assert (there - spot).abs().max() > 0.9
    back = applied(name, there, -0.5)
    assert back[:, 28:37, 28:37].min() > 0.95 and back[:, :18].max() < 0.05


def test_a_translation_moves_by_the_paper_s_share() -> None:
    edge = torch.zeros(3, 4, 331)
    edge[:, :, 200:] = 1
    moved = applied("translate columns", edge, 1.0)
    assert torch.equal((moved[0, 0, :180] > 0.5).nonzero()[0], torch.tensor([50]))


def test_enhancements_keep_what_they_should(image: Tensor) -> None:
    torch.testing.assert_close(applied("brightness", image, -1.0), image * 0.1)
    torch.testing.assert_close(grey(applied("colour", image, 0.7)[None]), grey(image[None]))
    contrast = applied("contrast", image, -1.0)
    torch.testing.assert_close(contrast.std(), image.std() * 0.1, rtol=0.05, atol=0)
    assert applied("sharpness", image, -1.0).std() < image.std() < applied("sharpness", image, 1.0).std()


def test_levels_are_posterised_inverted_stretched_and_equalised(image: Tensor) -> None:
    assert len({*applied("posterize", image, 1.0).flatten().tolist()}) <= 16
    bright = applied("solarize", image, 0.25)
    torch.testing.assert_close(bright, torch.where(image > 0.75, 1 - image, image))
    narrow = image * 0.2 + 0.3
    stretched = applied("autocontrast", narrow, 0.0)
    assert stretched.amin((1, 2)).max() < 1e-6 and stretched.amax((1, 2)).min() > 1 - 1e-6
    equal = applied("equalize", narrow**3, 0.0).flatten(1).sort(1).values
    torch.testing.assert_close(equal, torch.linspace(0, 1, equal.shape[1]).expand(3, -1), rtol=0, atol=0.08)
    flat = torch.full((3, 8, 8), 0.4)
    for name in ("autocontrast", "equalize"):
        torch.testing.assert_close(applied(name, flat, 0.0), flat)


def test_each_image_has_its_own_operations_and_a_part_is_as_in_the_whole(image: Tensor) -> None:
    images = image.expand(200, -1, -1, -1)
    draws = torch.rand(200, 2 * OPERATIONS, generator=torch.Generator().manual_seed(1))
    changed = rand_augment(images, draws, 0.3)
    assert changed.min() >= 0 and changed.max() <= 1
    assert len({tuple(one.flatten()[:50].tolist()) for one in changed}) > 60
    torch.testing.assert_close(rand_augment(images[40:50], draws[40:50], 0.3), changed[40:50])
    assert torch.equal(images, image.expand(200, -1, -1, -1))


def test_it_is_one_of_the_augmentations() -> None:
    with pytest.raises(PipelineError, match="randaugment is 2"):
        Augmentation(randaugment=2.0)
    images = torch.randint(0, 256, (6, 12, 12, 3), dtype=torch.uint8)
    plain, random = Augmentation(), Augmentation(randaugment=0.5)
    draws = plain.draw(6, torch.Generator().manual_seed(0))
    assert random(images, draws, 8).shape == (6, 3, 8, 8)
    assert not torch.equal(random(images, draws, 8), plain(images, draws, 8))
