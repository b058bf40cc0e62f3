"""VQCNIR on images of any size in bounded memory, with the statistics of the whole image."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.aiem import AIEM
from vqcnir_arch.archs.channel_attention import mix_channels
from vqcnir_arch.archs.dbca import DBCA, TextureWarp
from vqcnir_arch.archs.padding import crop_bottom_right, pad_bottom_right
from vqcnir_arch.archs.quantizers.nearest_code import NearestCode, nearest_indices
from vqcnir_arch.archs.vqcnir_arch import VQCNIR
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.strips.layers import Affine, convolve, run
from vqcnir_arch.restoration.strips.modules import aiem, channel_map, residual_block, texture_warp
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
        if not isinstance(fusion, DBCA) or not isinstance(fusion.warp, TextureWarp):
            raise UserError(
                f"tiled inference knows the fusions none and DBCA with published offsets, not {type(fusion).__name__}"
            )


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
    x = encode(net, padded(net, image), scratch, progress)
    for block in net.enhancer:
        x = aiem(block, scratch, x)
        progress()
    indices, ties = choose_codes(net, x) if indices is None else (indices, 0)
    progress()
    guide, x = decode(net, scratch, x, indices, progress)
    (restored,) = scratch.sweep(
        lambda guide, x: convolve(net.out_conv, together(torch.add, guide, x)),
        [guide, x],
        [3],
        x.height,
        x.width,
        halo=1,
    )
    guide.free()
    x.free()
    whole = restored.rows(0, restored.height).x
    restored.free()
    return StripResult(crop_bottom_right(whole, height, width), indices, ties, scratch.most_on_disk)


def encode(net: VQCNIR, image: Tensor, scratch: Scratch, progress: Callable[[], object]) -> Feature:
    """Run encoder E."""
    height, width = image.shape[-2:]
    x = scratch.feature(3, height, width)
    x.write(Strip(image, 0, height))
    for i, stage in enumerate([nn.Sequential(net.encoder.in_conv), *net.encoder.stages]):
        convolution, *blocks = stage
        x = sweep_convolution(convolution, scratch, x)
        for block in blocks:
            x = residual_block(block, scratch, x)
        if i:
            progress()
    return x


def sweep_convolution(conv: nn.Conv2d, scratch: Scratch, x: Feature) -> Feature:
    """Run a convolution; its input is freed."""
    (kernel, _), (stride, _), (padding, _) = conv.kernel_size, conv.stride, conv.padding
    height, width = ((size + 2 * padding - kernel) // stride + 1 for size in (x.height, x.width))
    (result,) = scratch.sweep(
        lambda strip: convolve(conv, strip), [x], [conv.out_channels], height, width, halo=kernel, factor=stride
    )
    x.free()
    return result


def double(upsample: nn.Sequential, scratch: Scratch, x: Feature) -> Feature:
    """Double the size of a map and convolve it; the map is kept."""
    channels, size = upsample[-1].out_channels, (2 * x.height, 2 * x.width)
    (result,) = scratch.sweep(lambda s: run(upsample, s), [x], [channels], *size, halo=2, factor=0.5)
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
    net: VQCNIR, scratch: Scratch, x: Feature, indices: Tensor, progress: Callable[[], object]
) -> tuple[Feature, Feature]:
    """Run both decoders level by level; return G's and D's last feature. `x`, the enhanced feature, is freed."""
    codes = scratch.feature(net.quantizer.codebook.shape[1], x.height, x.width)
    step = max(1, TOKENS // x.width)
    for start in range(0, x.height, step):
        codes.write(Strip(net.quantizer.lookup(indices[:, start : start + step]), start, x.height))
    guide = sweep_convolution(net.after_quant, scratch, codes)
    decoder, carry = net.decoder, None
    for i, level in enumerate(decoder.levels):
        if i:
            coarser = guide
            upsample, *blocks = net.generator[i - 1]
            guide = double(upsample, scratch, coarser)
            coarser.free()
            for block in blocks:
                guide = residual_block(block, scratch, guide)
            coarser, x = x, double(decoder.upsamples[level], scratch, x)
            coarser.free()
        inputs = [x]
        if level in decoder.fusions:
            x, warped, carry = fuse(decoder.fusions[level], scratch, x, guide, carry)
            inputs = [x, warped]
        if level in decoder.blocks:
            x = residual_block(decoder.blocks[level], scratch, *inputs)
        elif level in decoder.fusions:
            x.free()
            x = warped
        progress()
    if carry is not None:
        carry[0].free()
    return guide, x


def fuse(
    fusion: DBCA, scratch: Scratch, x_d: Feature, x_g: Feature, carry: tuple[Feature, Affine] | None
) -> tuple[Feature, Feature, tuple[Feature, Affine]]:
    """Run one level of DBCA; `x_d` and `carry` are freed. Same results as the module's."""
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
