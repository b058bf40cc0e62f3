"""Layers on strips: each gives all rows that follow from those it gets, as if the whole image were there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs.layers import LayerNorm2d, Upsample
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.strips.store import Feature, Strip

POINTWISE = (nn.ReLU, nn.SiLU, nn.Sigmoid, nn.Identity, LayerNorm2d)


def run(module: nn.Module, strip: Strip) -> Strip:
    """Run a module that is local: convolutions, doublings and what treats every pixel by itself."""
    if isinstance(module, Upsample):
        return upsample(module, strip)
    if isinstance(module, nn.Sequential):
        for child in module:
            strip = run(child, strip)
        return strip
    if isinstance(module, nn.Conv2d):
        return convolve(module, strip)
    if isinstance(module, nn.Upsample):
        return double(strip, module.mode)
    if isinstance(module, POINTWISE):
        return strip.map(module)
    raise UserError(f"tiled inference does not know the layer {type(module).__name__}")


def convolve(conv: nn.Conv2d, strip: Strip) -> Strip:
    """Convolve; only at the borders of the image is there zero padding above and below."""
    padding, stride = conv.padding[0], conv.stride[0]
    reach = (conv.kernel_size[0] - 1) * conv.dilation[0]
    height = (strip.height + 2 * padding - reach - 1) // stride + 1
    first = 0 if strip.start == 0 else -(-(strip.start + padding) // stride)
    last = height if strip.end == strip.height else (strip.end - 1 + padding - reach) // stride + 1
    needed_from, needed_to = first * stride - padding, (last - 1) * stride - padding + reach + 1
    above, below = max(strip.start - needed_from, 0), max(needed_to - strip.end, 0)
    x = strip.crop(max(needed_from, strip.start), min(needed_to, strip.end)).x
    both = min(above, below)
    if above != below:
        x = F.pad(x, (0, 0, above - both, below - both))
    x = F.conv2d(x, conv.weight, conv.bias, conv.stride, (both, conv.padding[1]), conv.dilation, conv.groups)
    return Strip(x, first, height)


def local(module: nn.Module, strip: Strip, reach: int) -> Strip:
    """Run a module that keeps the size and sees `reach` rows around a pixel, padded with zeros.

    What it pads where the image goes on is wrong: rows that see it are left out.
    """
    x = Strip(module(strip.x), strip.start, strip.height)
    return x.crop(x.start + reach * (strip.start > 0), x.end - reach * (strip.end < strip.height))


def upsample(module: Upsample, strip: Strip) -> Strip:
    """Double the size, then convolve; of the rows beyond inner ends two are wrong."""
    x = Strip(module(strip.x), 2 * strip.start, 2 * strip.height)
    return x.crop(x.start + 2 * (strip.start > 0), x.end - 2 * (strip.end < strip.height))


def double(strip: Strip, mode: str) -> Strip:
    """Double the size. Bilinear weights reach one row beyond, so inner ends lose theirs."""
    if mode == "nearest":
        return Strip(F.interpolate(strip.x, scale_factor=2, mode=mode), 2 * strip.start, 2 * strip.height)
    x = F.interpolate(strip.x, scale_factor=2, mode=mode, align_corners=False)
    whole = Strip(x, 2 * strip.start, 2 * strip.height)
    return whole.crop(whole.start + (strip.start > 0), whole.end - (strip.end < strip.height))


class Affine:
    """A group norm whose statistics are known: one factor and one summand per channel.

    Args:
        norm: the group norm.
        features: maps whose channels together are its input.
    """

    def __init__(self, norm: nn.GroupNorm, *features: Feature) -> None:
        moments = torch.cat([feature.moments() for feature in features], dim=1)
        mean, square = moments.unflatten(1, (norm.num_groups, -1)).mean(2)
        size = norm.num_channels // norm.num_groups
        deviation = (square - mean.square()).clamp_min(0).add(norm.eps).rsqrt().repeat_interleave(size)
        scale = norm.weight.double() * deviation
        shift = norm.bias.double() - mean.repeat_interleave(size) * scale
        self.scale, self.shift = (x.float().view(1, -1, 1, 1) for x in (scale, shift))

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)
