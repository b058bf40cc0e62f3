"""VQCNIR's encoder and decoders, level by level, each in strips."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.layers import Upsample
from vqcnir_arch.archs.vqcnir_arch import VQCNIR
from vqcnir_arch.restoration.strips.fusions import fuse
from vqcnir_arch.restoration.strips.layers import convolve, run
from vqcnir_arch.restoration.strips.modules import residual_block
from vqcnir_arch.restoration.strips.store import Feature, Scratch, Strip, together

TOKENS = 65536
"""Positions whose codes, or distances to all codes, are in memory at a time."""


def encode(
    net: VQCNIR, image: Feature, scratch: Scratch, progress: Callable[[], object]
) -> tuple[Feature, list[Feature]]:
    """Run encoder E; return its feature and those that D gets beside it, coarsest first. The image is kept."""
    x, skips = image, []
    for i, (convolution, *blocks) in enumerate(net.encoder.stages):
        if i == 0:
            x = sweep_convolutions(scratch, x, net.encoder.in_conv, convolution)
        else:
            finer, x = x, sweep_convolutions(scratch, x, convolution)
            if net.decoder.skips:
                skips.insert(0, finer)
            else:
                finer.free()
        for block in blocks:
            x = residual_block(block, scratch, x)
        progress()
    return x, skips


def sweep_convolutions(scratch: Scratch, x: Feature, *convolutions: nn.Conv2d) -> Feature:
    """Run convolutions one after the other; their input is kept."""
    height, width, halo, factor = x.height, x.width, 0, 1
    for conv in convolutions:
        (kernel, _), (stride, _), (padding, _) = conv.kernel_size, conv.stride, conv.padding
        height, width = ((size + 2 * padding - kernel) // stride + 1 for size in (height, width))
        halo, factor = halo + factor * kernel, factor * stride
    chain = nn.Sequential(*convolutions)
    (result,) = scratch.sweep(
        lambda strip: run(chain, strip), [x], [convolutions[-1].out_channels], height, width, halo, factor
    )
    return result


def double(upsample: Upsample, scratch: Scratch, x: Feature) -> Feature:
    """Double the size of a map and convolve it; the map is kept."""
    channels, size = upsample[-1].out_channels, (2 * x.height, 2 * x.width)
    (result,) = scratch.sweep(lambda s: run(upsample, s), [x], [channels], *size, halo=2, factor=0.5)
    return result


def double_and_add(upsample: Upsample, scratch: Scratch, x: Feature, conv: nn.Conv2d, skip: Feature) -> Feature:
    """Do the same and add a convolution of a map of the doubled size; both maps are kept."""

    def function(skip: Strip) -> Strip:
        rows = x.rows(skip.start // 2 - 2, -(-skip.end // 2) + 2)
        return together(torch.add, run(upsample, rows), convolve(conv, skip))

    channels = upsample[-1].out_channels
    (result,) = scratch.sweep(function, [skip], [channels], skip.height, skip.width, halo=1)
    return result


def decode(
    net: VQCNIR,
    scratch: Scratch,
    x: Feature,
    indices: Tensor,
    skips: Sequence[Feature],
    progress: Callable[[], object],
) -> tuple[Feature | None, Feature]:
    """Run both decoders level by level; return G's last feature, if it has a part in the result, and D's.

    `x`, the enhanced feature, is freed, and of `skips` all but the last, the image.
    """
    codes = scratch.feature(net.quantizer.codebook.shape[1], x.height, x.width)
    step = max(1, TOKENS // x.width)
    for start in range(0, x.height, step):
        codes.write(Strip(net.quantizer.lookup(indices[:, start : start + step]), start, x.height))
    guide: Feature | None = sweep_convolutions(scratch, codes, net.after_quant)
    codes.free()
    decoder, carry = net.decoder, None
    for i, level in enumerate(decoder.levels):
        if i:
            guide = next_guide(net, scratch, guide, i)
            coarser = x
            if level in decoder.skips:
                skip = skips[i - 1]
                x = double_and_add(decoder.upsamples[level], scratch, coarser, decoder.skips[level], skip)
                if skip is not skips[-1]:
                    skip.free()
            else:
                x = double(decoder.upsamples[level], scratch, coarser)
            coarser.free()
        inputs = [x]
        if level in decoder.fusions:
            x, fused, carry = fuse(decoder.fusions[level], scratch, x, guide, carry)
            inputs = [x, fused]
        if level in decoder.blocks:
            x = residual_block(decoder.blocks[level], scratch, *inputs)
        elif level in decoder.fusions:
            x.free()
            x = fused
        progress()
    if carry is not None:
        carry[0].free()
    return guide, x


def next_guide(net: VQCNIR, scratch: Scratch, coarser: Feature | None, i: int) -> Feature | None:
    """Return G's feature of level `i`, None where nothing needs it; the coarser one is freed."""
    guide = None
    if net.uses_guide(net.decoder.levels[i]):
        upsample, *blocks = net.generator[i - 1]
        guide = double(upsample, scratch, coarser)
    if coarser is not None:
        coarser.free()
    if guide is not None:
        for block in blocks:
            guide = residual_block(block, scratch, guide)
    return guide
