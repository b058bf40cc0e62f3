"""The same sums as torch's own operators, in forms that are faster on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAST = torch.channels_last
_enabled = True


@contextmanager
def plain_operators() -> Iterator[None]:
    """Compute with torch's and torchvision's own operators for a while, to count or to compare."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


def is_enabled() -> bool:
    """Whether `plain_operators` is off."""
    return _enabled


def is_fast(x: Tensor) -> bool:
    """Whether the forms of this module are to be used: on a CPU, and not where a graph of the network is made."""
    return _enabled and x.device.type == "cpu" and not (torch.compiler.is_compiling() or torch.jit.is_tracing())


def fast_layout(x: Tensor) -> Tensor:
    """Return images in the memory format in which a CPU's convolutions are fastest; what follows keeps it.

    Not where a gradient is wanted: torch's group norm and its gradient are less exact in that format (see `GroupNorm`).
    """
    return x.contiguous(memory_format=LAST) if is_fast(x) and not torch.is_grad_enabled() else x


ROWS_OF_DOUBLED = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Which of the three taps fall on a pixel that was repeated, for each tap of the transposed convolution."""


def double_and_convolve(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Double the size of [B, C, H, W] by repeating pixels and apply a 3×3 convolution of padding 1.

    Of the nine taps of an output pixel some fall on the same pixel of x, so that four are left: a transposed
    convolution of size 4 and stride 2, whose weights are their sums.
    """
    with torch.autocast(x.device.type, enabled=False):
        rows = torch.tensor(ROWS_OF_DOUBLED, dtype=conv.weight.dtype)
        weight = (conv.weight.transpose(0, 1).flatten(2) @ torch.kron(rows, rows).t()).unflatten(2, (4, 4))
    return F.conv_transpose2d(x, weight, conv.bias, stride=2, padding=1)


PIXELS = 4096
"""How many are added up in the input's own precision."""


class DilatedDepthwiseConv2d(nn.Conv2d):
    """Depth-wise convolution of stride 1 that keeps the size, with a dilation.

    A CPU has no fast kernel for the dilation: it is done as an ordinary convolution of each of dilation² subsampled
    images.
    """

    def __init__(self, channels: int, kernel_size: int, dilation: int) -> None:
        padding = dilation * (kernel_size // 2)
        super().__init__(channels, channels, kernel_size, padding=padding, dilation=dilation, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        if not is_fast(x):
            return super().forward(x)
        step = self.dilation[0]
        batch, channels, height, width = x.shape
        x = F.pad(x, (0, -width % step, 0, -height % step))  # zeros, as beyond the border
        rows, columns = x.shape[-2] // step, x.shape[-1] // step
        x = x.permute(0, 2, 3, 1).reshape(batch, rows, step, columns, step, channels)
        x = x.permute(0, 2, 4, 1, 3, 5).reshape(-1, rows, columns, channels).permute(0, 3, 1, 2)
        x = F.conv2d(x, self.weight, self.bias, padding=self.kernel_size[0] // 2, groups=channels)
        x = x.permute(0, 2, 3, 1).reshape(batch, step, step, rows, columns, channels)
        x = x.permute(0, 3, 1, 4, 2, 5).reshape(batch, rows * step, columns * step, channels)
        return x.permute(0, 3, 1, 2)[..., :height, :width]


class GroupNorm(nn.GroupNorm):
    """Group norm that is as accurate in channels_last format as in the other.

    There torch adds up one pixel after the other in the input's precision: at 512×512 that is wrong by 3e-4 of a
    standard deviation. Here only the statistics of some pixels are found so. Where a gradient is wanted it is torch's.
    """

    def forward(self, x: Tensor) -> Tensor:
        is_exact = x.is_contiguous() or x.dtype not in (torch.float32, torch.float64)
        if not is_fast(x) or is_exact or torch.is_grad_enabled() or not x.is_contiguous(memory_format=LAST):
            return super().forward(x)
        out = torch.empty_like(x)
        for image, target in zip(pixels_of(x), pixels_of(out), strict=True):
            scale, shift = (number.to(x.dtype) for number in self.scale_and_shift(image))
            torch.addcmul(shift, image, scale, out=target)
        return out

    def scale_and_shift(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return what one image's [N, C] pixels are multiplied by, and what is then added, [C] each, float64."""
        parts = pixels.split(PIXELS)
        share = torch.tensor([len(part) / len(pixels) for part in parts], dtype=torch.float64)
        of_parts = (torch.batch_norm_update_stats(part, None, None, 0.0) for part in parts)
        mean, variance = (torch.stack(numbers).double() for numbers in zip(*of_parts, strict=True))
        square = (share @ (variance + mean.square())).view(self.num_groups, -1).mean(1)
        mean = (share @ mean).view(self.num_groups, -1).mean(1)
        deviation = (square - mean.square()).clamp_min(0).add(self.eps).rsqrt()
        mean, deviation = (x.repeat_interleave(self.num_channels // self.num_groups) for x in (mean, deviation))
        scale = self.weight * deviation
        return scale, self.bias - mean * scale


def pixels_of(x: Tensor) -> Tensor:
    """View [B, C, H, W] in channels_last format as [B, H·W, C]."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)
