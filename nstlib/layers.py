"""Convolutions of nets that paint: they see pictures go on as in a mirror, and grow maps by two."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Conv(nn.Conv2d):
    """A convolution that mirrors the picture at its border and keeps its size (or halves it).

    Where a norm follows it needs no bias, which the norm would take away at once.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, stride: int = 1, bias: bool = False
    ) -> None:
        super().__init__(
            inputs, outputs, size, stride, padding=size // 2, padding_mode="reflect", bias=bias
        )


class UpsampledConv(nn.Conv2d):
    """Nearest upsampling by two, then a 3×3 convolution: computed as one 2×2 convolution before it.

    After nearest upsampling, three neighbours in a row are copies of two pixels: which two, and how
    often each, depends only on whether the row's place is even or odd. So each of the four kinds of
    output pixel is a 2×2 convolution of the small map, with sums of the 3×3 weights: the same
    result for 4/9 of the products, and the large map is never copied.

    >>> conv, small = UpsampledConv(2, 3), torch.rand(1, 2, 5, 6)
    >>> large = F.pad(F.interpolate(small, scale_factor=2), (1, 1, 1, 1), mode="reflect")
    >>> torch.allclose(conv(small), F.conv2d(large, conv.weight), atol=1e-5)
    True
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = False) -> None:
        super().__init__(inputs, outputs, 3, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return maps (N, outputs, 2·H, 2·W)."""
        height, width = features.shape[2:]
        weight = _folded(_folded(self.weight, 2), 4)  # (C', C, 2, 2, 2, 2): kind y, y, kind x, x
        weight = weight.permute(2, 4, 0, 1, 3, 5).flatten(0, 2)  # (4·C', C, 2, 2), kinds first
        bias = None if self.bias is None else self.bias.repeat(4)
        # The mirrored border of the large map is the repeated border of the small one.
        bordered = F.pad(features, (1, 1, 1, 1), mode="replicate")
        windows = F.conv2d(bordered, weight, bias)  # (N, 4·C', H+1, W+1)
        # As (N, kind y, kind x, H, W, C'), the memory of channels last.
        windows = windows.view(len(windows), 2, 2, -1, height + 1, width + 1)
        windows = windows.permute(0, 1, 2, 4, 5, 3)
        large = windows.new_empty(len(windows), height, 2, width, 2, windows.shape[-1])
        for y in range(2):
            for x in range(2):
                large[:, :, y, :, x] = windows[:, y, x, y : y + height, x : x + width]
        return large.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)  # (N, C', 2·H, 2·W)


def _folded(weight: Tensor, axis: int) -> Tensor:
    """Return the two weights that an even place gives to its two pixels, then those of an odd one."""
    before, here, after = weight.unbind(axis)
    even, odd = (before, here + after), (before + here, after)
    return torch.stack([torch.stack(even, axis), torch.stack(odd, axis)], axis)


class TransposedConv(nn.ConvTranspose2d):
    """A learned upsampling by two; where its 3×3 stamps overlap they print a checkerboard."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=False)
