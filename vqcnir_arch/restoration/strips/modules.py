"""Blocks that look at the whole image, strip by strip: statistics first, then what follows from them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs.aiem import AIEM, simple_gate
from vqcnir_arch.archs.layers import ResidualBlock
from vqcnir_arch.restoration.strips.layers import Affine, convolve, local, run
from vqcnir_arch.restoration.strips.store import Feature, Scratch, Strip, together

LARGE_KERNEL_REACH = 11  # rows: 5×5, then 7×7 with dilation 3
IMA_REACH = 4  # 5×5, then 3×3, and 3×3 after the curve


def joined(*maps: Tensor) -> Tensor:
    """Return the concatenation of maps; one alone as it is."""
    return torch.cat(maps, dim=1) if len(maps) > 1 else maps[0]


def residual_block(block: ResidualBlock, scratch: Scratch, *inputs: Feature) -> Feature:
    """Run a residual block on the concatenation of maps, which are freed."""
    height, width = inputs[0].height, inputs[0].width
    norm1 = Affine(block.norm1, *inputs)

    def first(*strips: Strip) -> Strip:
        x = together(lambda *x: F.silu(norm1(joined(*x)), inplace=True), *strips)
        return convolve(block.conv1, x)

    (hidden,) = scratch.sweep(first, inputs, [block.conv1.out_channels], height, width, halo=1)
    norm2 = Affine(block.norm2, hidden)

    def second(h: Strip, *strips: Strip) -> Strip:
        residual = convolve(block.conv2, h.map(lambda x: F.silu(norm2(x), inplace=True)))
        skip = run(block.skip, together(joined, *strips))
        return together(torch.add, residual, skip)

    channels = block.conv2.out_channels
    into = inputs[0] if inputs[0].channels == channels else None
    (result,) = scratch.sweep(second, [hidden, *inputs], [channels], height, width, halo=1, into=into)
    for feature in (hidden, *inputs):
        if feature is not result:
            feature.free()
    return result


def aiem(block: AIEM, scratch: Scratch, x: Feature) -> Feature:
    """Run an AIEM block; its input is freed."""
    size = (x.height, x.width)
    expand = nn.Sequential(block.norm1, block.expand1, block.depthwise)
    (u,) = scratch.sweep(lambda strip: run(expand, strip), [x], [block.depthwise.out_channels], *size, halo=1)
    channel = block.channel(u.channel_means())

    def first(x: Strip, u: Strip) -> Strip:
        def mix(x: Tensor, u: Tensor, attention: Tensor) -> Tensor:
            return x + block.beta * block.project1(channel * attention * simple_gate(u))

        return together(mix, x, u, local(block.large_kernel, u, LARGE_KERNEL_REACH))

    (middle,) = scratch.sweep(first, [x, u], [x.channels], *size, halo=LARGE_KERNEL_REACH, into=x)
    u.free()

    def second(x: Strip) -> Strip:
        gated = x.map(lambda x: simple_gate(block.expand2(block.norm2(x))))
        enhanced = local(block.ima, gated, IMA_REACH)
        return together(lambda x, y: x + block.gamma * block.project2(y), x, enhanced)

    (result,) = scratch.sweep(second, [middle], [x.channels], *size, halo=IMA_REACH, cost=6)
    middle.free()
    return result
