"""The fusions of both decoders' features, strip by strip."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs.channel_attention import mix_channels
from vqcnir_arch.archs.dbca import DBCA, BidirectionalCrossAttention, TextureWarp
from vqcnir_arch.archs.deform_conv import DeformConv2d, deform_conv2d_grid_sample
from vqcnir_arch.archs.fusions import SKFF, Add, Concat, CrossAttention
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.strips.layers import Affine, convolve, double
from vqcnir_arch.restoration.strips.store import Feature, Scratch, Strip, together

Carry = tuple[Feature, Affine] | None
"""What a level of DBCA hands on: its offset feature before its norm, and that norm."""


def check_fusion(fusion: nn.Module) -> None:
    """Raise `UserError` unless `fuse` knows a fusion."""
    is_published = isinstance(fusion, DBCA) and isinstance(fusion.warp, TextureWarp)
    if not is_published and not isinstance(fusion, SKFF | Add | Concat | CrossAttention):
        raise UserError(
            "tiled inference knows the fusions none, Add, Concat, SKFF, CrossAttention, DBCA with published offsets, "
            f"not {type(fusion).__name__}"
        )


def fuse(
    fusion: nn.Module, scratch: Scratch, x_d: Feature, x_g: Feature, carry: Carry
) -> tuple[Feature, Feature, Carry]:
    """Run one level's fusion; same results as the module's.

    `x_g` is kept, `carry` is freed, and so is `x_d`, unless it is what is given back.
    """
    if isinstance(fusion, DBCA):
        return fuse_deformable(fusion, scratch, x_d, x_g, carry)
    if carry is not None:
        carry[0].free()
    function = pixel_fusion(fusion, scratch, x_d, x_g)
    (fused,) = scratch.sweep(
        lambda *strips: together(function, *strips), [x_d, x_g], [x_d.channels], x_d.height, x_d.width
    )
    return x_d, fused, None


def pixel_fusion(fusion: nn.Module, scratch: Scratch, x_d: Feature, x_g: Feature) -> Callable[[Tensor, Tensor], Tensor]:
    """Return what a fusion does to every pixel of D's and G's feature, once it has seen them all."""
    if isinstance(fusion, SKFF):
        of_d, of_g = fusion.shares(x_d.channel_means() + x_g.channel_means())
        return lambda d, g: torch.addcmul(of_d * d, of_g, g)
    if isinstance(fusion, CrossAttention):
        weights = channel_map(fusion, scratch, x_d, x_g)
        return lambda d, g: d + fusion.beta * mix_channels(weights, fusion.value(g))
    return fusion.fuse


def fuse_deformable(
    fusion: DBCA, scratch: Scratch, x_d: Feature, x_g: Feature, carry: Carry
) -> tuple[Feature, Feature, Carry]:
    """Run one level of DBCA; `x_d` and `carry` are freed."""
    attention = fusion.attention
    weights = channel_map(attention, scratch, x_d, x_g)

    def attend(d: Strip, g: Strip) -> tuple[Strip, Strip]:
        new_d = d.x + attention.beta * mix_channels(weights, attention.value_g(g.x))
        new_g = g.x + attention.gamma * mix_channels(weights, attention.value_d(d.x))
        estimate = fusion.warp.estimate[0](torch.cat((new_g, new_d), dim=1))
        return Strip(new_d, d.start, d.height), Strip(estimate, d.start, d.height)

    attended, estimate = scratch.sweep(attend, [x_d, x_g], [x_d.channels] * 2, x_d.height, x_d.width)
    x_d.free()
    warped, carry = texture_warp(fusion.warp, scratch, attended, estimate, carry)
    return attended, warped, carry


def channel_map(
    attention: BidirectionalCrossAttention | CrossAttention, scratch: Scratch, x_d: Feature, x_g: Feature
) -> Tensor:
    """Return the attention map of the channels, [1, heads, C/heads, C/heads] (VQCNIR eq. 8-9)."""
    heads = 1 if attention.scale is None else attention.scale.shape[0]
    width = x_d.channels // heads
    product = torch.zeros(heads, width, width, dtype=torch.float64)
    squares = torch.zeros(2, heads, width, dtype=torch.float64)

    def count(d: Strip, g: Strip) -> tuple:
        query = attention.query(attention.norm_d(d.x)).reshape(heads, width, -1)
        key = attention.key(attention.norm_g(g.x)).reshape(heads, width, -1)
        product.add_(query @ key.transpose(1, 2))
        squares.add_(torch.stack([x.square().sum(2) for x in (query, key)]))
        return ()

    scratch.sweep(count, [x_d, x_g], [], x_d.height, x_d.width)
    if attention.scale is None:
        return (product / math.sqrt(width)).softmax(-1).float()[None]
    lengths = squares.sqrt().clamp_min(1e-12)  # as torch's normalize
    cosines = product / (lengths[0][:, :, None] * lengths[1][:, None, :])
    return (cosines * attention.scale.double()).softmax(-1).float()[None]


def texture_warp(
    warp: TextureWarp, scratch: Scratch, x_d: Feature, estimate: Feature, coarser: Carry
) -> tuple[Feature, tuple[Feature, Affine]]:
    """Warp D's feature.

    Args:
        warp: the module.
        scratch: makes the maps.
        x_d: D's feature; it is kept.
        estimate: what the first convolution of `warp.estimate` gave; freed.
        coarser: the coarser level's offset feature before its norm, and that norm; freed.

    Returns:
        The warped feature, and this level's offset feature in the same form.
    """
    size = (x_d.height, x_d.width)
    _, norm1, _, depthwise, norm2, _, project = warp.estimate
    affine1 = Affine(norm1, estimate)
    (spread,) = scratch.sweep(
        lambda e: convolve(depthwise, e.map(lambda x: F.silu(affine1(x)))), [estimate], [x_d.channels], *size, halo=3
    )
    estimate.free()
    merge, norm, _ = warp.merge
    affine2 = Affine(norm2, spread)
    (offset,) = scratch.sweep(
        lambda e: convolve(project, e.map(lambda x: F.silu(affine2(x)))), [spread], [x_d.channels], *size
    )
    spread.free()
    if coarser is None:
        (merged,) = scratch.sweep(lambda o: convolve(merge, o), [offset], [merge.out_channels], *size, halo=1)
    else:
        merged = merge_with_coarser(merge, scratch, offset, *coarser)
        coarser[0].free()
    offset.free()
    carry = (merged, Affine(norm, merged))
    return deform(warp.deform, scratch, x_d, *carry), carry


def merge_with_coarser(merge: nn.Conv2d, scratch: Scratch, offset: Feature, coarse: Feature, norm: Affine) -> Feature:
    """Merge a level's offset feature with the coarser one, doubled in size and value."""

    def function(offset: Strip) -> Strip:
        rows = coarse.rows(offset.start // 2 - 1, -(-offset.end // 2) + 1)
        finer = double(rows.map(lambda x: F.silu(norm(x))), "bilinear").map(lambda x: x * 2)
        return convolve(merge, together(lambda *x: torch.cat(x, dim=1), offset, finer.crop(offset.start, offset.end)))

    (merged,) = scratch.sweep(function, [offset], [merge.out_channels], offset.height, offset.width, halo=1, cost=6)
    return merged


def deform(module: DeformConv2d, scratch: Scratch, x: Feature, guide: Feature, norm: Affine) -> Feature:
    """Deform a map by offsets that may point to any of its rows."""

    def function(guide: Strip) -> Strip:
        prediction = convolve(module.conv_offset, guide.map(lambda x: F.silu(norm(x))))
        split = prediction.x.shape[1] // 3
        offset, mask = prediction.x[:, : 2 * split], prediction.x[:, 2 * split :].sigmoid()
        vertical = offset[:, 0::2]
        lowest, highest = int(vertical.min().floor()) - 1, int(vertical.max().ceil()) + 1
        first = max(prediction.start + min(lowest, 0), 0)
        last = min(prediction.end + max(highest, 0) + 1, x.height)
        rows = x.rows(min(first, x.height - 1), max(last, 1))
        moved = offset.clone()
        moved[:, 0::2] += prediction.start - rows.start
        out = deform_conv2d_grid_sample(rows.x, moved, mask, module.weight, module.bias)
        return Strip(out, prediction.start, x.height)

    (out,) = scratch.sweep(function, [guide], [x.channels], x.height, x.width, halo=1, cost=22)
    return out
