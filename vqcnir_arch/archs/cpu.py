"""The same sums as torch's own operators, in forms that are faster on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vqcnir_arch.archs.precision import without_autocast

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
    return _enabled and x.device.type == "cpu" and not makes_graph()


def makes_graph() -> bool:
    """Whether a graph of the network is being made, to compile or to export it."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def add_product(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return x + a·b in one pass; in two where a graph is made, as torch 2.6 fails there if sizes are not fixed."""
    return x + a * b if makes_graph() else torch.addcmul(x, a, b)


def to_channels_last(x: Tensor) -> Tensor:
    """Return features in the memory format in which a CPU's convolutions are fastest; what follows keeps it.

    Its convolutions add up in one chain, which leaves four times the rounding error. Where a gradient is wanted that is
    enough to move some features across the kinks of ReLU and clamp, and with them gradients by 0.1 %: there only what
    has none is computed so.
    """
    return x.contiguous(memory_format=LAST) if is_fast(x) else x


ROWS_OF_DOUBLED = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Which of the three taps fall on a pixel that was repeated, for each tap of the transposed convolution."""


def double_and_convolve(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Double the size of [B, C, H, W] by repeating pixels and apply a 3×3 convolution of padding 1.

    Of the nine taps of an output pixel some fall on the same pixel of x, so that four are left: a transposed
    convolution of size 4 and stride 2, whose weights are their sums.
    """
    with without_autocast(x):
        rows = torch.tensor(ROWS_OF_DOUBLED, dtype=conv.weight.dtype)
        weight = (conv.weight.transpose(0, 1).flatten(2) @ torch.kron(rows, rows).t()).unflatten(2, (4, 4))
    return F.conv_transpose2d(x, weight, conv.bias, stride=2, padding=1)


PIXELS = 4096
"""How many are added up in the input's own precision."""
FEW_PIXELS = 256
"""Up to so many torch's own group norm adds up well enough, and is faster."""


class GroupNorm(nn.GroupNorm):
    """Group norm that is as accurate in channels_last format as in the other.

    There torch adds up one pixel after the other in the input's precision: at 512×512 that is wrong by 3e-4 of a
    standard deviation. Here only the sums over some pixels are found so, also those of the gradient.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not is_fast(x):  # asked first: an exported graph has no size to compare
            return super().forward(x)
        is_small = x.shape[-2] * x.shape[-1] <= FEW_PIXELS
        is_exact = is_small or x.is_contiguous() or x.dtype not in (torch.float32, torch.float64)
        if is_exact or not x.is_contiguous(memory_format=LAST):
            return super().forward(x)
        return ChannelsLastGroupNorm.apply(x, self.weight, self.bias, self.num_groups, self.eps)


class ChannelsLastGroupNorm(torch.autograd.Function):
    """Group norm of [B, C, H, W] in channels_last format: w·(x − m)/d + b with the mean and deviation of each group."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        found = zip(*(mean_and_deviation(pixels, groups, eps) for pixels in pixels_of(x)), strict=True)
        mean, deviation = (torch.cat(each) for each in found)
        ctx.save_for_backward(x, weight, mean, deviation)
        ctx.groups = groups
        scale = weight / deviation
        return weighted_sum(bias - mean * scale, (x, scale))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, deviation = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=LAST)
        parts = zip(pixels_of(x), parts_of(mean, x), pixels_of(gradient), strict=True)
        sums = zip(*(gradient_sums(*part) for part in parts), strict=True)
        of_bias, of_scale = (torch.cat(each) for each in sums)
        of_weight = of_scale / deviation
        # the gradient of the normalised pixels, less its part along their mean and along themselves
        pixels = x.shape[-2] * x.shape[-1]
        by_mean, by_pixel = (over_groups(weight * sums / pixels, ctx.groups) for sums in (of_bias, of_weight))
        shift = (by_pixel * mean / deviation - by_mean) / deviation
        result = weighted_sum(shift, (gradient, weight / deviation), (x, -by_pixel / deviation.square()))
        return result, of_weight.sum(0).to(weight.dtype), of_bias.sum(0).to(weight.dtype), None, None


def mean_and_deviation(pixels: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel's group in images' [B, N, C] pixels, each [B, C], float64."""
    mean, square = (over_groups(moment, groups) for moment in moments(pixels))
    return mean, (square - mean.square()).clamp_min(0).add(eps).sqrt()


def moments(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the mean square of each channel of images' [B, N, C] pixels, each [B, C], float64."""
    pivot = pixels[:, :PIXELS].mean(1)  # squares of what is left of the pixels without it hardly cancel
    total = square = torch.zeros_like(pivot, dtype=torch.float64)
    for part in pixels.split(PIXELS, dim=1):
        part = part - pivot[:, None]
        total, square = total + part.sum(1), square + part.square_().sum(1)
    total, square = total / pixels.shape[1], square / pixels.shape[1]
    mean = pivot + total
    return mean, square - total.square() + mean.square()


def gradient_sums(pixels: Tensor, mean: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums over N of `gradient`, [B, N, C], and of its product with pixels − mean, each [B, C], float64."""
    pivot = mean.to(pixels.dtype)
    total = product = torch.zeros_like(mean)
    for part, of in zip(pixels.split(PIXELS, dim=1), gradient.split(PIXELS, dim=1), strict=True):
        total, product = total + of.sum(1), product + (part - pivot[:, None]).mul_(of).sum(1)
    return total, product - (mean - pivot) * total


def over_groups(values: Tensor, groups: int) -> Tensor:
    """Give every channel of [..., C] the mean over its group."""
    means = values.unflatten(-1, (groups, -1)).mean(-1, keepdim=True)
    return means.expand(*means.shape[:-1], values.shape[-1] // groups).flatten(-2)


def weighted_sum(shift: Tensor, *terms: tuple[Tensor, Tensor]) -> Tensor:
    """Return shift + Σ x·weight in channels_last format, x [B, C, H, W], shift and weights [B, C] in any precision."""
    out = torch.empty_like(terms[0][0])
    totals = parts_of(shift.to(out.dtype)[:, None], out)
    for x, weight in terms:
        factors = parts_of(weight.to(out.dtype)[:, None], out)
        for total, pixels, factor, target in zip(totals, pixels_of(x), factors, pixels_of(out), strict=True):
            torch.addcmul(total, pixels, factor, out=target)
        totals = pixels_of(out)
    return out


def pixels_of(x: Tensor) -> tuple[Tensor, ...]:
    """View [B, C, H, W] in channels_last format as [B, H·W, C], in parts of some images."""
    return parts_of(x.permute(0, 2, 3, 1).flatten(1, 2), x)


def parts_of(values: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """Split what has one entry for each image of x, so that the images of a part have few pixels together."""
    return values.split(max(1, PIXELS // (x.shape[-2] * x.shape[-1])))
