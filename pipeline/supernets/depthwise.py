"""The depthwise convolution of an mbconv."""

from torch import nn


class DepthwiseConv2d(nn.Conv2d):
    """A k x k convolution of each channel by itself, padding k // 2, no bias."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
