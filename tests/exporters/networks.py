"""Small classifiers as other people write them: one idea each, for every target to be tried on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from exporters import Samples
from tests.exporters.conftest import digit_images

CLASSES = 10


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Residual(nn.Module):
    """x + body(x), or body(x) alone, then an activation."""

    def __init__(self, body: nn.Module, after: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.after = body, after or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.after(x + self.body(x))
        return result


class Scaled(nn.Module):
    """x * gate(x)."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x * self.gate(x)
        return result


class Branches(nn.Module):
    """Several bodies side by side, concatenated over channels."""

    def __init__(self, *bodies: nn.Module) -> None:
        super().__init__()
        self.bodies = nn.ModuleList(bodies)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([body(x) for body in self.bodies], dim=1)


class SamePadding(nn.Conv2d):
    """A convolution padded the way TensorFlow does, computed from the input's size."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[-2:], self.kernel_size, self.stride, strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads = [total // 2, total - total // 2, *pads]
        return functional.conv2d(functional.pad(x, pads), self.weight, self.bias, self.stride)


class Standardised(nn.Conv2d):
    """Weight standardisation: every filter has mean 0 and variance 1 when it is used."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        std = self.weight.std((1, 2, 3), keepdim=True)
        return functional.conv2d(x, (self.weight - mean) / (std + 1e-5), self.bias, self.stride, self.padding)


class StandardisedOtherwise(nn.Conv2d):
    """The same by `var_mean`, and by the batch normalisation that others abuse for it."""

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=1)
        weight = (self.weight - mean) * torch.rsqrt(variance + 1e-5)
        weight = functional.batch_norm(weight.flatten(1)[None], None, None, training=True).reshape_as(weight)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class BlurPool(nn.Module):
    """Anti-aliased downsampling by a fixed binomial filter."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("kernel", (line[:, None] * line / 16).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.get_buffer("kernel")
        return functional.conv2d(functional.pad(x, (1, 1, 1, 1), "reflect"), kernel, None, 2, groups=x.shape[1])


class Temperature(nn.Module):
    """A learned positive factor."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.tensor([0.3]))

    def forward(self, x: Tensor) -> Tensor:
        return x * functional.softplus(self.raw)


class ChannelsLastNorm(nn.LayerNorm):
    """ConvNeXt's: LayerNorm over channels of (n, c, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SelfAttention(nn.Module):
    """nn.MultiheadAttention over tokens, with its residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        result: Tensor = x + self.attention(y, y, y, need_weights=False)[0]
        return result


class Sdpa(nn.Module):
    """Attention as written by hand today: one projection, scaled_dot_product_attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.project, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.project(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v)
        result: Tensor = x + self.out(y.transpose(1, 2).reshape(n, tokens, width))
        return result


class Tokens(nn.Module):
    """Patches of an image as tokens behind a class token, with positions."""

    def __init__(self, channels: int, width: int, patch: int, count: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, count + 1, width) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        return torch.cat([self.token.expand(x.shape[0], -1, -1), patches], dim=1) + self.positions


class FirstToken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


class Mixer(nn.Module):
    """MLP-Mixer's block: once over tokens, once over channels."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.over_tokens = nn.Sequential(nn.Linear(tokens, 32), nn.GELU(), nn.Linear(32, tokens))
        self.over_channels = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.over_tokens(x.transpose(1, 2)).transpose(1, 2)
        result: Tensor = x + self.over_channels(x)
        return result


def conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3, act: type[nn.Module] = nn.ReLU) -> nn.Module:
    """Convolution, BatchNorm, activation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), act()
    )


def head(channels: int) -> nn.Module:
    """Global mean and a linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


def _view(x: Tensor) -> Tensor:
    return x.view(x.size(0), -1)


def _space_to_depth(x: Tensor) -> Tensor:
    return torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], dim=1)


def _larger(x: Tensor) -> Tensor:
    return functional.interpolate(x, size=(24, 24), mode="bilinear", align_corners=False)


def _halves(x: Tensor) -> Tensor:
    gate, value = x.chunk(2, dim=1)
    return value * torch.sigmoid(gate)


def _squeeze_excite() -> nn.Module:
    squeeze = nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 16, 1), nn.Sigmoid()
    return Scaled(nn.Sequential(nn.AdaptiveAvgPool2d(1), *squeeze))


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, activation="gelu", batch_first=True)
    return nn.Sequential(Tokens(3, 32, 4, 16), layer, FirstToken(), nn.Linear(32, CLASSES))


def _convnext() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(24, 24, 7, 1, 3, groups=24), ChannelsLastNorm(24), nn.Conv2d(24, 48, 1), nn.GELU())
    return nn.Sequential(nn.Conv2d(3, 24, 4, 4), Residual(nn.Sequential(body, nn.Conv2d(48, 24, 1))), head(24))


def _weight_normed() -> nn.Module:
    torch.manual_seed(0)
    normed = torch.nn.utils.weight_norm(nn.Conv2d(3, 16, 3, 2, 1))
    return nn.Sequential(normed, nn.ReLU(), head(16))


@dataclass(frozen=True)
class Foreign:
    """How to make one network, and the shape of its images."""

    make: Callable[[], nn.Module]
    shape: tuple[int, int, int] = (3, 16, 16)


NETWORKS: dict[str, Foreign] = {
    "residual, max pooling, view": Foreign(
        lambda: nn.Sequential(
            conv(3, 12), nn.MaxPool2d(3, 2, 1), Residual(conv(12, 12), nn.ReLU()), Function(_view), nn.Linear(768, 10)
        )
    ),
    "channel shuffle": Foreign(
        lambda: nn.Sequential(
            conv(3, 16, 2), nn.Conv2d(16, 16, 1, groups=4), nn.ChannelShuffle(4), conv(16, 16), head(16)
        )
    ),
    "multi-head attention": Foreign(
        lambda: nn.Sequential(Tokens(3, 32, 4, 16), SelfAttention(32), FirstToken(), nn.Linear(32, CLASSES))
    ),
    "transformer encoder": Foreign(_encoder),
    "attention by hand": Foreign(
        lambda: nn.Sequential(Tokens(3, 32, 4, 16), Sdpa(32, 4), FirstToken(), nn.Linear(32, CLASSES))
    ),
    "squeeze-and-excitation, sigmoid": Foreign(lambda: nn.Sequential(conv(3, 16, 2), _squeeze_excite(), head(16))),
    "PReLU": Foreign(lambda: nn.Sequential(conv(3, 16, 2, act=lambda: nn.PReLU(16)), head(16))),  # type: ignore[arg-type]
    "GroupNorm": Foreign(
        lambda: nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.GroupNorm(4, 16), nn.SiLU(), conv(16, 16), head(16))
    ),
    "InstanceNorm": Foreign(
        lambda: nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.InstanceNorm2d(16, affine=True), nn.ReLU(), head(16))
    ),
    "not square": Foreign(lambda: nn.Sequential(conv(3, 16, 2), conv(16, 16, 2), head(16)), (3, 16, 24)),
    "one channel": Foreign(lambda: nn.Sequential(conv(1, 16, 2), head(16)), (1, 16, 16)),
    "four channels": Foreign(lambda: nn.Sequential(conv(4, 16, 2), head(16)), (4, 16, 16)),
    "bilinear resize in front": Foreign(lambda: nn.Sequential(Function(_larger), conv(3, 16, 2), head(16))),
    "ZeroPad2d": Foreign(
        lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 16, 3, 2), nn.ReLU(), head(16))
    ),
    "reflection padding": Foreign(
        lambda: nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, padding_mode="reflect"), nn.ReLU(), head(16))
    ),
    "TensorFlow's same padding": Foreign(lambda: nn.Sequential(SamePadding(3, 16, 3, 2), nn.ReLU6(), head(16))),
    "BlurPool": Foreign(lambda: nn.Sequential(conv(3, 16), BlurPool(16), conv(16, 16), head(16))),
    "weight standardisation": Foreign(
        lambda: nn.Sequential(Standardised(3, 16, 3, 2, 1), nn.GroupNorm(4, 16), nn.ReLU(), head(16))
    ),
    "weight standardisation, other ways": Foreign(
        lambda: nn.Sequential(StandardisedOtherwise(3, 16, 3, 2, 1), nn.GroupNorm(4, 16), nn.ReLU(), head(16))
    ),
    "softplus of a parameter": Foreign(lambda: nn.Sequential(conv(3, 16, 2), Temperature(), head(16))),
    "weight norm": Foreign(_weight_normed),
    "ConvNeXt": Foreign(_convnext),
    "MLP-Mixer": Foreign(
        lambda: nn.Sequential(
            nn.Conv2d(3, 24, 4, 4),
            Function(lambda x: x.flatten(2).transpose(1, 2)),
            Mixer(16, 24),
            Function(lambda x: x.mean(1)),
            nn.Linear(24, CLASSES),
        )
    ),
    "pixel unshuffle and shuffle": Foreign(
        lambda: nn.Sequential(nn.PixelUnshuffle(2), conv(12, 16), nn.PixelShuffle(2), conv(4, 16, 2), head(16))
    ),
    "strided slices": Foreign(lambda: nn.Sequential(Function(_space_to_depth), conv(12, 16), head(16))),
    "gated halves": Foreign(lambda: nn.Sequential(conv(3, 32, 2), Function(_halves), conv(16, 16), head(16))),
    "inception": Foreign(
        lambda: nn.Sequential(
            conv(3, 16, 2),
            Branches(conv(16, 8, kernel=1), conv(16, 8, kernel=5), nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            head(32),
        )
    ),
    "transposed convolution": Foreign(
        lambda: nn.Sequential(conv(3, 16, 2), nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(), head(8))
    ),
}


def made(name: str) -> tuple[nn.Module, Samples]:
    """The network `name` with a head fitted to real digits, and those that it was not fitted on."""
    torch.manual_seed(0)
    foreign = NETWORKS[name]
    network = foreign.make()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    images, labels = digit_images()
    shaped = _shaped(images, foreign.shape)
    fit_head(network.eval(), shaped[400:1400], labels[400:1400])
    return network, Samples(shaped[:200], labels[:200], calibration=shaped[400:500])


def _shaped(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    channels, height, width = shape
    wide = np.pad(images, ((0, 0), (0, 0), (0, height - 16), (0, width - 16)))
    return np.ascontiguousarray(
        np.resize(wide.transpose(1, 0, 2, 3), (channels, len(images), height, width)).transpose(1, 0, 2, 3)
    )


def fit_head(network: nn.Module, images: np.ndarray, labels: np.ndarray) -> None:
    """Solve the last linear layer by ridge regression on what reaches it: training in one step."""
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    seen: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    with torch.no_grad():
        for part in torch.split(torch.from_numpy(images), 100):
            network(part)
        handle.remove()
        features = torch.cat(seen).double()
        mean, scale = features.mean(0), features.std(0) + 1e-3
        normal = (features - mean) / scale
        wanted = torch.from_numpy(np.eye(CLASSES)[labels]) * 8 - 4
        penalty = torch.eye(normal.shape[1], dtype=torch.float64) * 0.1 * len(normal)
        weight = torch.linalg.solve(normal.T @ normal + penalty, normal.T @ wanted) / scale[:, None]
        last.weight.copy_(weight.T)
        last.bias.copy_(wanted.mean(0) - mean @ weight)
