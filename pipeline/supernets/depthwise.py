"""The depthwise convolution of an mbconv, with quick gradients on CPUs.

The weight gradient of a 5 x 5 or 7 x 7 depthwise convolution took most of a training step: oneDNN has quick code
for kernels that are at most 3 wide (of any height, as long as the padding above does not reach over the image),
and falls back to code 5 to 20 times slower for wider ones. A wider kernel's gradient is put together from strips
3 wide, each the gradient of a k x 3 convolution of the input shifted sideways. Same sums, another order.

The gradient of the input, where nothing strides, is a convolution with the turned kernel, for which the forward
code is up to twice as quick as the backward code.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_STRIP = 3  # columns that oneDNN's quick kernel covers
_CHUNK_BYTES = 1 << 21  # shifted images that stay in a core's cache, in memory that is not returned to the system


class DepthwiseConv2d(nn.Conv2d):
    """A k x k convolution of each channel by itself, padding k // 2, no bias."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        trains = self.training and self.weight.requires_grad and torch.is_grad_enabled()
        if trains and self.kernel_size[0] >= _STRIP and _is_plain_cpu(x):
            y: Tensor = _Depthwise.apply(x, self.weight, self.stride[0])  # type: ignore[no-untyped-call]
            return y
        return super().forward(x)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = input_gradient(x, grad, weight, ctx.stride)
        if ctx.needs_input_grad[1]:
            grad_weight = weight_gradient(x, grad, weight.shape[-1], ctx.stride)
        return grad_x, grad_weight, None


def input_gradient(x: Tensor, grad: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Gradient (n, c, h, w) of a depthwise convolution's input `x`, padding kernel // 2."""
    padding = weight.shape[-1] // 2
    if stride == 1:
        return F.conv2d(grad, weight.flip(2, 3), padding=padding, groups=len(weight))
    return _conv_backward(grad, x, weight, stride, (padding, padding), (True, False, False))[0]


def weight_gradient(x: Tensor, grad: Tensor, kernel: int, stride: int) -> Tensor:
    """Gradient (c, 1, kernel, kernel) of a depthwise convolution's weight, padding kernel // 2.

    `x` (n, c, h, w) was its input, `grad` is the gradient of its output; both in channels_last order.
    """
    if kernel <= min(_STRIP, x.shape[-2]):
        return _strip_gradient(x, grad, kernel, stride, 0)
    result = x.new_zeros(x.shape[1], 1, kernel, kernel)
    # Powers of two divide most batches: fewer distinct shapes for oneDNN to prepare code for.
    images = 1 << max(0, (_CHUNK_BYTES // (4 * x[0].numel())).bit_length() - 1)
    for some_x, some_grad in zip(torch.split(x, images), torch.split(grad, images), strict=True):
        for left in (*range(0, kernel - _STRIP, _STRIP), kernel - _STRIP):
            # Neighbouring strips overlap; the columns that both compute are equal, so only new ones are added.
            part = _strip_gradient(some_x, some_grad, kernel, stride, left)
            new = -left % _STRIP
            result[..., left + new : left + _STRIP] += part[..., new:]
    return result


def _strip_gradient(x: Tensor, grad: Tensor, kernel: int, stride: int, left: int) -> Tensor:
    """Columns `left` to `left + 2` of the weight's gradient, shape (c, 1, kernel, 3)."""
    height, width = x.shape[-2:]
    padding = kernel // 2
    strip = x.new_empty(x.shape[1], 1, kernel, _STRIP)
    # Rows of zeros in the input replace padding that the quick code does not take.
    rows = padding if height < kernel or (stride > 1 and kernel > 5) else 0
    before = padding - left
    after = stride * (grad.shape[-1] - 1) + _STRIP - width - before
    if min(before, after) <= -width:
        return strip.zero_()  # these columns of the kernel see nothing but padding
    inside = before == 1 and not rows
    shifted = x if inside else F.pad(x, (before, after, rows, rows))
    around = (padding - rows, 1 if inside else 0)
    return _conv_backward(grad, shifted, strip, stride, around, (False, True, False))[1]


def _conv_backward(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int], wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, weight, None, (stride, stride), padding, (1, 1), False, (0, 0), len(weight), wanted
    )
    return gradients


def _is_plain_cpu(x: Tensor) -> bool:
    is_plain = x.device.type == "cpu" and x.dtype == torch.float32
    return is_plain and x.is_contiguous(memory_format=torch.channels_last)
