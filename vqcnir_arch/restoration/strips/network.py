"""VQCNIR on images of any size in bounded memory, with the statistics of the whole image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.aiem import AIEM
from vqcnir_arch.archs.illumination import thumbnail
from vqcnir_arch.archs.layers import Upsample
from vqcnir_arch.archs.padding import crop_bottom_right, pad_bottom_right
from vqcnir_arch.archs.quantizers.nearest_code import NearestCode, nearest_indices
from vqcnir_arch.archs.vqcnir_arch import VQCNIR
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.strips.fusions import check_fusion, fuse
from vqcnir_arch.restoration.strips.layers import convolve, run
from vqcnir_arch.restoration.strips.modules import aiem, residual_block
from vqcnir_arch.restoration.strips.store import Feature, Scratch, Strip, together

NEAR_TIE = 1e-4
"""Two codes whose distances differ by less than this share of them may be told apart by rounding alone."""

TOKENS = 65536
"""Positions whose distances to all codes are in memory at a time."""


class StripResult(NamedTuple):
    """What `restore_in_strips` gives.

    Attributes:
        image: [1, 3, H, W], not clamped.
        indices: the chosen codes, [1, h, w].
        near_ties: positions whose two nearest codes are as good as equally near.
        disk: bytes of scratch files that were there at a time.
    """

    image: Tensor
    indices: Tensor
    near_ties: int
    disk: int


def check_supported(net: nn.Module) -> None:
    """Raise `UserError` unless every part of a network can be computed in strips with the same result."""
    if not isinstance(net, VQCNIR):
        raise UserError(f"tiled inference knows VQCNIR, not {type(net).__name__}")
    if not isinstance(net.quantizer, NearestCode):
        raise UserError(f"tiled inference knows the quantizer NearestCode, not {type(net.quantizer).__name__}")
    for block in net.enhancer:
        if not isinstance(block, AIEM):
            raise UserError(f"tiled inference knows the enhancers AIEM and none, not {type(block).__name__}")
    for fusion in net.decoder.fusions.values():
        check_fusion(fusion)


def is_supported(net: nn.Module) -> bool:
    """Whether `restore_in_strips` can compute a network."""
    try:
        check_supported(net)
    except UserError:
        return False
    return True


def parts(net: VQCNIR) -> int:
    """Return how often `restore_in_strips` reports progress."""
    return len(net.encoder.stages) + len(net.enhancer) + len(net.decoder.levels) + 1


def padded(net: VQCNIR, image: Tensor) -> Tensor:
    """Pad an image as the network does."""
    published = net.padding == "published"
    return pad_bottom_right(image, net.published_size_multiple if published else net.size_multiple, always=published)


@torch.inference_mode()
def restore_in_strips(
    net: VQCNIR,
    image: Tensor,
    scratch: Scratch,
    indices: Tensor | None = None,
    progress: Callable[[], object] = lambda: None,
) -> StripResult:
    """Restore one image layer by layer, each layer in strips of rows.

    The norms and attention maps see the whole image, as in the network itself, so there are no seams.

    Args:
        net: the network, in eval mode on the CPU.
        image: [1, 3, H, W], RGB in [0, 1].
        scratch: holds the feature maps.
        indices: codes to use instead of the nearest ones, [1, h, w].
        progress: called after each of `parts(net)` parts.

    Raises:
        UserError: the network has parts that are not known here, or there is no room for its features.
    """
    check_supported(net)
    height, width = image.shape[-2:]
    given = input_image(net, padded(net, image), scratch)
    x, skips = encode(net, given, scratch, progress)
    for block in net.enhancer:
        x = aiem(block, scratch, x)
        progress()
    indices, ties = choose_codes(net, x) if indices is None else (indices, 0)
    progress()
    guide, x = decode(net, scratch, x, indices, [*skips, given], progress)

    def finish(first: Strip, x: Strip) -> Strip:
        if net.residual_conv is None:
            return convolve(net.out_conv, together(torch.add, first, x))
        return together(torch.add, first, convolve(net.residual_conv, x))

    first = guide if net.residual_conv is None else given
    (restored,) = scratch.sweep(finish, [first, x], [3], x.height, x.width, halo=1)
    for feature in filter(None, (given, guide, x)):
        feature.free()
    whole = restored.rows(0, restored.height).x
    restored.free()
    return StripResult(crop_bottom_right(whole, height, width), indices, ties, scratch.most_on_disk)


def input_image(net: VQCNIR, image: Tensor, scratch: Scratch) -> Feature:
    """Return the image as the encoder gets it: brightened where the network has a curve for that."""
    height, width = image.shape[-2:]
    x = scratch.feature(3, height, width)
    x.write(Strip(image, 0, height))
    if net.illumination is None:
        return x
    curve = net.illumination.coefficients(thumbnail(image, net.illumination.size))
    brighten = partial(net.illumination.apply_curve, coefficients=curve)
    (brightened,) = scratch.sweep(lambda strip: strip.map(brighten), [x], [3], height, width, into=x)
    return brightened


def encode(
    net: VQCNIR, image: Feature, scratch: Scratch, progress: Callable[[], object]
) -> tuple[Feature, list[Feature]]:
    """Run encoder E; return its feature and those that D gets beside it, coarsest first. The image is kept."""
    x, skips = image, []
    for i, stage in enumerate([nn.Sequential(net.encoder.in_conv), *net.encoder.stages]):
        convolution, *blocks = stage
        coarser = sweep_convolution(convolution, scratch, x)
        if i > 1 and net.decoder.skips:
            skips.insert(0, x)
        elif i:
            x.free()
        x = coarser
        for block in blocks:
            x = residual_block(block, scratch, x)
        if i:
            progress()
    return x, skips


def sweep_convolution(conv: nn.Conv2d, scratch: Scratch, x: Feature) -> Feature:
    """Run a convolution; its input is kept."""
    (kernel, _), (stride, _), (padding, _) = conv.kernel_size, conv.stride, conv.padding
    height, width = ((size + 2 * padding - kernel) // stride + 1 for size in (x.height, x.width))
    (result,) = scratch.sweep(
        lambda strip: convolve(conv, strip), [x], [conv.out_channels], height, width, halo=kernel, factor=stride
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


def choose_codes(net: VQCNIR, x: Feature) -> tuple[Tensor, int]:
    """Return the nearest codes, [1, h, w], and the number of near ties."""
    codebook, chosen, ties = net.quantizer.codebook, [], 0
    step = max(1, TOKENS // x.width)
    for start in range(0, x.height, step):
        features = net.before_quant(x.rows(start, start + step).x)
        rows = features[0].flatten(1).t()
        chosen.append(nearest_indices(rows, codebook).view(-1, x.width))
        nearest, second = torch.cdist(rows, codebook).square().topk(2, largest=False).values.unbind(1)
        ties += int((second - nearest < NEAR_TIE * nearest).sum())
    return torch.cat(chosen)[None], ties


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
    guide: Feature | None = sweep_convolution(net.after_quant, scratch, codes)
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
