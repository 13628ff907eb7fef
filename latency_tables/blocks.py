"""The unit that a device executes, and what it costs in closed form.

A network is a tuple of blocks; a batch of one image, 3 x size x size, flows through them.
Everything that needs shapes (cost, tables, networks, supernets) reads them from here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Final, Literal, get_args

from latency_tables.errors import TableError

Kind = Literal["conv", "mbconv", "pool", "mix", "linear"]
Activation = Literal["none", "relu", "relu6", "hswish", "silu"]
Padding = Literal["symmetric", "same"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
ACTIVATIONS: Final[tuple[Activation, ...]] = get_args(Activation)
PADDINGS: Final[tuple[Padding, ...]] = get_args(Padding)


class BlockError(TableError):
    """A block that no network can contain, or a key that is not one."""


def round_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, at least `divisor`, never below 90 % of `channels` (MobileNetV2)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


@dataclass(frozen=True)
class Block:
    """One step of a network, with every shape that its cost depends on.

    Kinds: `conv` (k x k convolution, BatchNorm, activation); `mbconv` (1x1 expansion unless
    `mid_channels == in_channels`, depthwise k x k with the stride, squeeze-and-excitation where
    `se_channels > 0`, 1x1 projection, the input added where `residual`); `pool` (global average);
    `mix` (1x1 convolution of the pooled vector, no BatchNorm, no bias); `linear` (matrix product with bias, then
    the activation: the classifier, or a hidden layer before it).
    Squeeze-and-excitation uses ReLU and hard sigmoid, or SiLU and sigmoid when the activation is SiLU.

    `padding` is that of the k x k convolution: "symmetric", k // 2 zeros on every side, or "same", TensorFlow's,
    which puts fewer zeros before than after. The two differ only where the stride leaves a rest; elsewhere a
    "same" block becomes the symmetric one that it equals.
    """

    kind: Kind
    in_size: int
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    mid_channels: int = 0
    se_channels: int = 0
    activation: Activation = "none"
    residual: bool = False
    padding: Padding = "symmetric"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BlockError(f"block kind {self.kind!r} is unknown; known are {', '.join(KINDS)}")
        if self.activation not in ACTIVATIONS:
            raise BlockError(f"activation {self.activation!r} is unknown; known are {', '.join(ACTIVATIONS)}")
        if self.padding not in PADDINGS:
            raise BlockError(f"padding {self.padding!r} is unknown; known are {', '.join(PADDINGS)}")
        if min(self.in_size, self.in_channels, self.out_channels, self.kernel, self.stride) < 1:
            raise BlockError(f"block {self.key!r} has a size, channel count, kernel or stride below 1")
        if self.kernel % 2 == 0:
            raise BlockError(f"block {self.key!r} has an even kernel; kernels are odd")
        if (self.mid_channels > 0) != (self.kind == "mbconv"):
            raise BlockError(f"block {self.key!r}: mid channels belong to mbconv blocks, and only to them")
        if self.residual and (self.stride != 1 or self.in_channels != self.out_channels):
            raise BlockError(f"block {self.key!r}: a residual needs stride 1 and as many channels out as in")
        if self.padding == "same" and _same_is_symmetric(self.in_size, self.kernel, self.stride):
            object.__setattr__(self, "padding", "symmetric")

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # Blocks are looked up millions of times; hashing ten fields each time would dominate.
        return hash(self.key)

    @property
    def out_size(self) -> int:
        """Height and width of the output, in pixels."""
        return 1 if self.kind == "pool" else -(-self.in_size // self.stride)

    @property
    def pads(self) -> tuple[int, int]:
        """Rows (and columns) of zeros before and after the input of the k x k convolution."""
        if self.padding == "symmetric":
            return (self.kernel // 2, self.kernel // 2)
        return same_pads(self.in_size, self.kernel, self.stride)

    @property
    def sizeless(self) -> "Block":
        """The block of the smallest input that has the same weights and padding."""
        return replace(self, in_size=1 if self.padding == "symmetric" else (self.in_size - 1) % self.stride + 1)

    @property
    def expands(self) -> bool:
        """Whether an mbconv begins with a 1x1 expansion."""
        return self.kind == "mbconv" and self.mid_channels != self.in_channels

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one image: convolutions and linear layers, no BatchNorm, bias, pool or addition."""
        pixels_in, pixels_out = self.in_size**2, self.out_size**2
        if self.kind == "pool":
            return 0
        if self.kind != "mbconv":
            return pixels_out * self.in_channels * self.out_channels * self.kernel**2
        mid = self.mid_channels
        expansion = pixels_in * self.in_channels * mid if self.expands else 0
        return expansion + pixels_out * mid * (self.kernel**2 + self.out_channels) + 2 * mid * self.se_channels

    @cached_property
    def params(self) -> int:
        """Trainable parameters: weights, biases, and two per BatchNorm channel."""
        c, m, s, o = self.in_channels, self.mid_channels, self.se_channels, self.out_channels
        match self.kind:
            case "conv":
                return c * o * self.kernel**2 + 2 * o
            case "mbconv":
                expansion = c * m + 2 * m if self.expands else 0
                squeeze = 2 * m * s + s + m if s else 0
                return expansion + m * self.kernel**2 + 2 * m + squeeze + m * o + 2 * o
            case "pool":
                return 0
            case "mix":
                return c * o
            case "linear":
                return c * o + o

    @cached_property
    def key(self) -> str:
        """A readable spelling that `parse` takes back; it names this block's row in a latency table."""
        return (
            f"{self.kind} in={self.in_size}x{self.in_channels} out={self.out_channels} k={self.kernel}"
            f" s={self.stride} mid={self.mid_channels} se={self.se_channels} act={self.activation}"
            f" res={int(self.residual)}{'' if self.padding == 'symmetric' else f' pad={self.padding}'}"
        )

    @classmethod
    def parse(cls, key: str) -> "Block":
        """The block that `key` spells; BlockError names what is wrong with it."""
        kind, *fields = key.split(" ")
        values = dict(field.split("=", 1) for field in fields if "=" in field)
        try:
            in_size, in_channels = values["in"].split("x")
            block = cls(
                kind=kind,  # type: ignore[arg-type]  # __post_init__ refuses unknown kinds
                in_size=int(in_size),
                in_channels=int(in_channels),
                out_channels=int(values["out"]),
                kernel=int(values["k"]),
                stride=int(values["s"]),
                mid_channels=int(values["mid"]),
                se_channels=int(values["se"]),
                activation=values["act"],  # type: ignore[arg-type]
                residual=values["res"] == "1",
                padding=values.get("pad", "symmetric"),  # type: ignore[arg-type]
            )
        except (KeyError, ValueError) as error:
            if isinstance(error, BlockError):
                raise
            raise BlockError(f"{key!r} is not a block; an example: {EXAMPLE.key!r}") from None
        if block.key != key:
            raise BlockError(f"{key!r} is not the canonical spelling of a block; it is {block.key!r}")
        return block


def same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after each row of `size` pixels in TensorFlow's "same" padding; ceil(size / stride) come out."""
    missing = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return (missing // 2, missing - missing // 2)


def _same_is_symmetric(size: int, kernel: int, stride: int) -> bool:
    return kernel == 1 or (size - 1) % stride == 0


EXAMPLE: Final = Block("mbconv", 112, 16, 24, 3, 2, 64, 0, "relu", False)


def require_chain(blocks: Sequence[Block]) -> None:
    """TableError unless there are blocks, and each takes what the one before it gives."""
    if not blocks:
        raise TableError("a model needs at least one block")
    for before, after in pairwise(blocks):
        if (before.out_channels, before.out_size) != (after.in_channels, after.in_size):
            raise TableError(f"block {after.key!r} does not take what {before.key!r} gives")


def total_macs(blocks: Iterable[Block]) -> int:
    """Multiply-accumulates of a network."""
    return sum(block.macs for block in blocks)


def total_params(blocks: Iterable[Block]) -> int:
    """Trainable parameters of a network."""
    return sum(block.params for block in blocks)
