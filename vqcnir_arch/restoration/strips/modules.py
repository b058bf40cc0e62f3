"""The parts of VQCNIR that look at the whole image, strip by strip: statistics first, then what follows from them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs.aiem import AIEM, IMAConv, simple_gate
from vqcnir_arch.archs.dbca import BidirectionalCrossAttention, TextureWarp
from vqcnir_arch.archs.deform_conv import DeformConv2d, deform_conv2d_grid_sample
from vqcnir_arch.archs.layers import ResidualBlock
from vqcnir_arch.restoration.strips.layers import Affine, convolve, double, run
from vqcnir_arch.restoration.strips.store import Feature, Scratch, Strip, together

LARGE_KERNEL_REACH = 11  # rows: 5×5, then 7×7 with dilation 3
IMA_REACH = 4  # 5×5, then 3×3, and 3×3 after the curve


def residual_block(block: ResidualBlock, scratch: Scratch, *inputs: Feature) -> Feature:
    """Run a residual block on the concatenation of maps, which are freed."""
    height, width = inputs[0].height, inputs[0].width
    norm1 = Affine(block.norm1, *inputs)

    def first(*strips: Strip) -> Strip:
        x = together(lambda *x: F.silu(norm1(torch.cat(x, dim=1))), *strips)
        return convolve(block.conv1, x)

    (hidden,) = scratch.sweep(first, inputs, [block.conv1.out_channels], height, width, halo=1)
    norm2 = Affine(block.norm2, hidden)

    def second(h: Strip, *strips: Strip) -> Strip:
        residual = convolve(block.conv2, h.map(lambda x: F.silu(norm2(x))))
        skip = run(block.skip, together(lambda *x: torch.cat(x, dim=1), *strips))
        return together(torch.add, residual, skip)

    (result,) = scratch.sweep(second, [hidden, *inputs], [block.conv2.out_channels], height, width, halo=1)
    for feature in (hidden, *inputs):
        feature.free()
    return result


def ima_conv(ima: IMAConv, x: Strip) -> Strip:
    """Illumination mutual attention convolution (VQCNIR eq. 3-7) on a strip."""
    splits = x.x.chunk(len(ima.conv), dim=1)
    enhanced = []
    for i, (split, curve, conv) in enumerate(zip(splits, ima.curve, ima.conv, strict=True)):
        complement = Strip(torch.cat(splits[:i] + splits[i + 1 :], dim=1), x.start, x.height)

        def brighten(split: Tensor, maps: Tensor) -> Tensor:
            y = split.clamp(0, 1)
            for a in maps.split(1, dim=1):
                y = y + a * y * (1 - y)
            return y

        y = together(brighten, Strip(split, x.start, x.height), run(curve, complement))
        enhanced.append(convolve(conv, y))
    return together(lambda *x: torch.cat(x, dim=1), *enhanced)


def aiem(block: AIEM, scratch: Scratch, x: Feature) -> Feature:
    """Run an AIEM block; its input is freed."""
    size = (x.height, x.width)
    expand = nn.Sequential(block.norm1, block.expand1, block.depthwise)
    (u,) = scratch.sweep(lambda strip: run(expand, strip), [x], [block.depthwise.out_channels], *size, halo=1)
    channel = block.channel(u.channel_means())

    def first(x: Strip, u: Strip) -> Strip:
        def mix(x: Tensor, u: Tensor, attention: Tensor) -> Tensor:
            return x + block.beta * block.project1(channel * attention * simple_gate(u))

        return together(mix, x, u, run(block.large_kernel, u))

    (middle,) = scratch.sweep(first, [x, u], [x.channels], *size, halo=LARGE_KERNEL_REACH)
    x.free()
    u.free()

    def second(x: Strip) -> Strip:
        gated = x.map(lambda x: simple_gate(block.expand2(block.norm2(x))))
        return together(lambda x, y: x + block.gamma * block.project2(y), x, ima_conv(block.ima, gated))

    (result,) = scratch.sweep(second, [middle], [x.channels], *size, halo=IMA_REACH, cost=6)
    middle.free()
    return result


def channel_map(attention: BidirectionalCrossAttention, scratch: Scratch, x_d: Feature, x_g: Feature) -> Tensor:
    """Return the attention map of the channels, [1, heads, C/heads, C/heads] (VQCNIR eq. 8-9)."""
    heads = 1 if attention.scale is None else attention.scale.shape[0]
    width = x_d.channels // heads
    product = torch.zeros(heads, width, width, dtype=torch.float64)
    squares = torch.zeros(2, heads, width, dtype=torch.float64)

    def count(d: Strip, g: Strip) -> tuple:
        query = attention.query(attention.norm_d(d.x)).view(heads, width, -1)
        key = attention.key(attention.norm_g(g.x)).view(heads, width, -1)
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
    warp: TextureWarp, scratch: Scratch, x_d: Feature, estimate: Feature, coarser: tuple[Feature, Affine] | None
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
