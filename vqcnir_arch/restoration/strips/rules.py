"""What looks at the whole image, each by a rule: statistics first, in strips, then what follows from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vqcnir_arch.archs.deform_conv import DeformConv2d, deform_conv2d_grid_sample, offset_and_mask
from vqcnir_arch.archs.maps import local, total
from vqcnir_arch.restoration.strips.maps import RULES, Call, Map, Plan, joined, make_map, note, store, whole

DEFORM_COST = 16
"""Memory of a strip of a deformable convolution over that of its offsets, its mask and what they are made of."""


def rule(*functions: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what is done with maps in the place of some functions."""

    def register(replacement: Callable[..., Any]) -> Callable[..., Any]:
        RULES.update(dict.fromkeys(functions, replacement))
        return replacement

    return register


SAMPLE = 16
"""Height and width of what a function is run on to know the shape of what it gives."""


@rule(local)
def unopened(function: Callable[..., Tensor], x: Map) -> Map:
    """What is done on strips as it is: which operators it has is not looked at."""
    _, channels, *size = function(torch.zeros(1, x.shape[1], SAMPLE, SAMPLE)).shape
    shape = (1, channels, *(grown * side // SAMPLE for grown, side in zip(size, x.shape[2:], strict=True)))
    return make_map(torch.empty(shape, device="meta"), x.scratch, call=Call(function, (x,), {}))


def moments(x: Map) -> Tensor:
    """Return mean and mean square of every channel, [2, C], float64; of a concatenation those of its parts."""
    return torch.cat([store(part).moments() for part in joined(x)], dim=1)


@rule(F.group_norm)
def group_norm(x: Map, num_groups: int, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Group norm with known statistics: one factor and one summand per channel."""
    mean, square = moments(x).unflatten(1, (num_groups, -1)).mean(2)
    size = x.shape[1] // num_groups
    deviation = (square - mean.square()).clamp_min(0).add(eps).rsqrt().repeat_interleave(size)
    scale = weight.double() * deviation
    shift = bias.double() - mean.repeat_interleave(size) * scale
    scale, shift = (each.float().view(1, -1, 1, 1) for each in (scale, shift))
    return torch.addcmul(shift, x, scale)


@rule(F.adaptive_avg_pool2d)
def adaptive_avg_pool2d(x: Map, output_size: Any) -> Tensor:
    """Mean of every channel, or a thumbnail of what has few of them."""
    if output_size in (1, (1, 1)):
        return moments(x)[0].float().view(1, -1, 1, 1)
    return F.adaptive_avg_pool2d(whole(x), output_size)


@rule(total)
def sums(function: Callable[..., tuple[Tensor, ...]], *maps: Map) -> tuple[Tensor, ...]:
    """Sums over all pixels, added up in float64."""
    added: list[Tensor] = []
    for _, strips in Plan(maps).strips():
        parts = [part.double() for part in function(*strips)]
        added = [a + b for a, b in zip(added, parts, strict=True)] if added else parts
    return tuple(each.float() for each in added)


def deform(module: DeformConv2d, x: Map, guide: Map) -> Map:
    """A deformable convolution, whose offsets may point to any row of `x`."""
    given = store(x)
    out = x.scratch.feature(*x.shape[1:])
    height = x.shape[-2]
    for start, (prediction,) in Plan([module.conv_offset(guide)]).strips(DEFORM_COST):
        offset, mask = offset_and_mask(prediction)
        vertical, end = offset[:, 0::2], start + offset.shape[2]
        first = min(max(start + min(int(vertical.min().floor()) - 1, 0), 0), height - 1)
        last = max(min(end + max(int(vertical.max().ceil()) + 1, 0) + 1, height), first + 1)
        moved = offset.clone()
        moved[:, 0::2] += start - first
        rows = deform_conv2d_grid_sample(given.rows(first, last), moved, mask, module.weight, module.bias)
        out.write(rows, start)
    return make_map(torch.empty(x.shape, device="meta"), x.scratch, out)


@rule(Tensor.mean, torch.mean)
def mean(x: Map, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Mean of every channel; over other dimensions what torch's does."""
    if isinstance(dim, tuple | list) and sorted(each % x.dim() for each in dim) == [x.dim() - 2, x.dim() - 1]:
        means = moments(x)[0].float()[None]
        return means[..., None, None] if keepdim else means
    return note(torch.mean, x, dim=dim, keepdim=keepdim)
