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
Pads = tuple[int, int]
_CHUNK_BYTES = 1 << 21  # shifted images that stay in a core's cache, in memory that is not returned to the system


class DepthwiseConv2d(nn.Conv2d):
    """A k x k convolution of each channel by itself, without bias.

    `pads` are the rows and columns of zeros before and after the image, k // 2 each where they are left out.
    """

    def __init__(self, channels: int, kernel: int, stride: int, pads: Pads | None = None) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
        self.pads = pads or (kernel // 2, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) -> (n, channels, h', w')."""
        trains = self.training and self.weight.requires_grad and torch.is_grad_enabled()
        if trains and self.kernel_size[0] >= _STRIP and _is_plain_cpu(x):
            y: Tensor = _Depthwise.apply(x, self.weight, self.stride[0], self.pads)  # type: ignore[no-untyped-call]
            return y
        return _convolved(x, self.weight, self.bias, self.stride[0], self.pads, self.groups)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, pads: Pads) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.pads = stride, pads
        return _convolved(x, weight, None, stride, pads, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = input_gradient(x, grad, weight, ctx.stride, ctx.pads)
        if ctx.needs_input_grad[1]:
            grad_weight = weight_gradient(x, grad, weight.shape[-1], ctx.stride, ctx.pads)
        return grad_x, grad_weight, None, None


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, pads: Pads, groups: int) -> Tensor:
    before, after = pads
    if before == after:
        return F.conv2d(x, weight, bias, stride, before, groups=groups)
    return F.conv2d(F.pad(x, (before, after, before, after)), weight, bias, stride, groups=groups)


def input_gradient(x: Tensor, grad: Tensor, weight: Tensor, stride: int, pads: Pads) -> Tensor:
    """Gradient (n, c, h, w) of a depthwise convolution's input `x`, which was padded by `pads`."""
    before, after = pads
    if before == after:
        if stride == 1:
            return F.conv2d(grad, weight.flip(2, 3), padding=before, groups=len(weight))
        return _conv_backward(grad, x, weight, stride, (before, before), (True, False, False))[0]
    height, width = x.shape[-2:]
    padded = F.pad(x, (before, after, before, after))
    inside = slice(before, before + height), slice(before, before + width)
    return _conv_backward(grad, padded, weight, stride, (0, 0), (True, False, False))[0][:, :, *inside]


def weight_gradient(x: Tensor, grad: Tensor, kernel: int, stride: int, pads: Pads) -> Tensor:
    """Gradient (c, 1, kernel, kernel) of a depthwise convolution's weight; the input was padded by `pads`.

    `x` (n, c, h, w) was its input, `grad` is the gradient of its output; both in channels_last order.
    """
    if kernel <= min(_STRIP, x.shape[-2]):
        return _strip_gradient(x, grad, kernel, stride, pads, 0)
    result = x.new_zeros(x.shape[1], 1, kernel, kernel)
    # Powers of two divide most batches: fewer distinct shapes for oneDNN to prepare code for.
    images = 1 << max(0, (_CHUNK_BYTES // (4 * x[0].numel())).bit_length() - 1)
    for some_x, some_grad in zip(torch.split(x, images), torch.split(grad, images), strict=True):
        for left in (*range(0, kernel - _STRIP, _STRIP), kernel - _STRIP):
            # Neighbouring strips overlap; the columns that both compute are equal, so only new ones are added.
            part = _strip_gradient(some_x, some_grad, kernel, stride, pads, left)
            new = -left % _STRIP
            result[..., left + new : left + _STRIP] += part[..., new:]
    return result


def _strip_gradient(x: Tensor, grad: Tensor, kernel: int, stride: int, pads: Pads, left: int) -> Tensor:
    """Columns `left` to `left + 2` of the weight's gradient, shape (c, 1, kernel, 3)."""
    height, width = x.shape[-2:]
    above = pads[0]
    strip = x.new_empty(x.shape[1], 1, kernel, _STRIP)
    # Rows of zeros in the input replace padding that the quick code does not take.
    as_rows = above != kernel // 2 or height < kernel or (stride > 1 and kernel > 5)
    before = above - left
    after = stride * (grad.shape[-1] - 1) + _STRIP - width - before
    if min(before, after) <= -width:
        return strip.zero_()  # these columns of the kernel see nothing but padding
    if before == 1 and not as_rows:
        return _conv_backward(grad, x, strip, stride, (above, 1), (False, True, False))[1]
    below = stride * (grad.shape[-2] - 1) + kernel - height - above
    rows = (above, below) if as_rows else (0, 0)
    shifted = F.pad(x, (before, after, *rows))
    return _conv_backward(grad, shifted, strip, stride, (0 if as_rows else above, 0), (False, True, False))[1]


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
