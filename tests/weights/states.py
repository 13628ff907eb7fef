"""Weights that are a function of their names, so that the originals' answers to them can be written down.

A hash of the position, not a random generator: the same in every version of everything.
"""

import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / "published"
_NORM = ("weight", "bias", "running_mean", "running_var")
Shapes = dict[str, tuple[int, ...]]


def fixed_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor called `name`: convolutions keep the variance of what they read, statistics are near 0 and 1."""
    noise = _noise(name, shape)
    if name.endswith("_matrix"):
        return torch.eye(shape[0]) + 0.05 * noise
    if len(shape) > 1:
        return noise * math.sqrt(6 / math.prod(shape[1:]))
    if name.endswith("running_var"):
        return 1 + 0.3 * noise
    if name.endswith(("running_mean", "bias")):
        return 0.1 * noise
    return 1 + 0.2 * noise


def fixed_images(size: int) -> Tensor:
    """Two images, shape (2, 3, size, size)."""
    return 2 * _noise("images", (2, 3, size, size))


def _noise(name: str, shape: tuple[int, ...]) -> Tensor:
    """Numbers from -1 to 1 without visible order (the finaliser of MurmurHash3 on a Weyl sequence)."""
    with np.errstate(over="ignore"):
        mixed = (np.arange(math.prod(shape), dtype=np.uint32) + 1) * np.uint32(0x9E3779B9) + np.uint32(
            zlib.crc32(name.encode())
        )
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
            mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    return torch.from_numpy(mixed / 2**31 - 1).float().reshape(shape)


def fixed_state(shapes: Shapes) -> dict[str, Tensor]:
    """A state dict of those names and shapes; batch counters as torch stores them."""
    return {
        name: torch.tensor(7) if name.endswith("num_batches_tracked") else fixed_tensor(name, shape)
        for name, shape in shapes.items()
    }


def read_shapes(listing: str) -> Shapes:
    """Names and shapes in `published/LISTING.txt`: a tensor a line, and `path.* 32` for a BatchNorm of 32 channels."""
    shapes: Shapes = {}
    for line in (FOLDER / f"{listing}.txt").read_text().splitlines():
        name, text = line.split(" ")
        shape = tuple(map(int, text.split("x")))
        if name.endswith(".*"):
            shapes |= {name.replace("*", leaf): shape for leaf in _NORM}
            shapes[name.replace("*", "num_batches_tracked")] = ()
        else:
            shapes[name] = shape
    return shapes


def write_shapes(listing: str, shapes: Shapes) -> None:
    """The file that `read_shapes` reads."""
    norms = {name.removesuffix(".running_mean") for name in shapes if name.endswith(".running_mean")}
    lines = []
    for name, shape in shapes.items():
        path, _, leaf = name.rpartition(".")
        if path not in norms:
            lines.append(f"{name} {'x'.join(map(str, shape))}")
        elif leaf == "running_mean":
            lines.append(f"{path}.* {shape[0]}")
    (FOLDER / f"{listing}.txt").write_text("\n".join(lines) + "\n")
