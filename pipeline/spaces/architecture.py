"""An architecture: one point of a search space, as plain frozen data.

It is canonical by construction: layers that a shallower network lacks are not in it, so two spellings of
one network are equal. Its string can be a file name: `r32_w16-k3e1_w24-k3e6-k5e4`.
"""

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Final

from pipeline.errors import PipelineError

_OP = re.compile(r"k([1-9]\d*)e([1-9]\d*(?:\.\d*[1-9])?)(?:s(0\.\d*[1-9]|1))?")
_FORM: Final = "r<pixels>_w<channels>-k<kernel>e<expand>-…_w…, for example r32_w16-k3e1_w24-k3e6-k5e4"


class ArchitectureError(PipelineError):
    """A string that is no architecture, or an architecture that a space does not contain."""


@total_ordering
@dataclass(frozen=True, slots=True)
class Op:
    """What one layer computes: an mbconv of `kernel` and `expand` ratio, or a plain 1x1 projection ("skip").

    A ratio may be a fraction, such as MobileNetV3's 2.3. `squeeze`, from 0 to 1, is the share of the middle channels
    that its own squeeze-and-excitation has; 0 leaves that to the stage.
    The projection (kernel 1, expand 0) is the identity of a layer that changes the shape (NAS-Bench-Macro).
    """

    kernel: int
    expand: float
    squeeze: float = 0

    def __post_init__(self) -> None:
        for name in ("expand", "squeeze"):
            value = getattr(self, name)
            if isinstance(value, float) and value.is_integer():
                object.__setattr__(self, name, int(value))  # so that a ratio has one spelling

    def __str__(self) -> str:
        own = f"s{self.squeeze}" if self.squeeze else ""
        return "skip" if self == SKIP else f"k{self.kernel}e{self.expand}{own}"

    def __lt__(self, other: "Op") -> bool:
        return (self.kernel, self.expand, self.squeeze) < (other.kernel, other.expand, other.squeeze)

    @classmethod
    def parse(cls, text: str) -> "Op":
        """The op that `text` spells, such as `k5e4`, `k5e4s0.25` or `skip`."""
        if text == "skip":
            return SKIP
        match = _OP.fullmatch(text)
        if match is None or int(match[1]) % 2 == 0:
            raise ArchitectureError(
                f"{text!r} is not an op; accepted are skip and k<odd kernel>e<expand>, as k3e6 or k5e2.5, with"
                " s<share of its channels> where it has squeeze-and-excitation of its own, as k3e6s0.25"
            )
        return cls(int(match[1]), float(match[2]), float(match[3] or 0))


SKIP: Final = Op(1, 0)


@dataclass(frozen=True, slots=True)
class StageChoice:
    """The layers of one stage: its output channels and one op per layer that exists."""

    width: int
    ops: tuple[Op, ...]

    def __str__(self) -> str:
        return "-".join((f"w{self.width}", *map(str, self.ops)))


@dataclass(frozen=True, slots=True)
class Architecture:
    """One network of a space: input resolution in pixels, then the stages in order."""

    resolution: int
    stages: tuple[StageChoice, ...]

    def __str__(self) -> str:
        return "_".join((f"r{self.resolution}", *map(str, self.stages)))

    @classmethod
    def parse(cls, text: str) -> "Architecture":
        """The architecture that `str(architecture)` spelled; ArchitectureError otherwise."""
        head, *stages = text.strip().split("_")
        if not re.fullmatch(r"r[1-9]\d*", head) or not stages:
            raise ArchitectureError(f"{text!r} is not an architecture; the form is {_FORM}")
        return cls(int(head[1:]), tuple(_parse_stage(stage, text) for stage in stages))


def _parse_stage(text: str, whole: str) -> StageChoice:
    width, *ops = text.split("-")
    if not re.fullmatch(r"w[1-9]\d*", width) or not ops:
        raise ArchitectureError(f"{text!r} in {whole!r} is not a stage; the form is {_FORM}")
    return StageChoice(int(width[1:]), tuple(map(Op.parse, ops)))
