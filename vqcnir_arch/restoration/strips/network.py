"""VQCNIR on images of any size in bounded memory, with the statistics of the whole image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.aiem import AIEM
from vqcnir_arch.archs.padding import crop_bottom_right, pad_bottom_right
from vqcnir_arch.archs.quantizers.nearest_code import NearestCode, code_distances
from vqcnir_arch.archs.vqcnir_arch import VQCNIR
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.strips.autoencoder import TOKENS, decode, encode
from vqcnir_arch.restoration.strips.fusions import check_fusion
from vqcnir_arch.restoration.strips.layers import convolve
from vqcnir_arch.restoration.strips.modules import aiem
from vqcnir_arch.restoration.strips.store import Feature, Scratch, Strip, together

NEAR_TIE = 1e-4
"""Two codes whose distances differ by less than this share of them may be told apart by rounding alone."""


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
    given, share = input_image(net, padded(net, image), scratch)
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
        return together(torch.add, first, convolve(net.residual_conv, x).map(lambda residual: share * residual))

    first = guide if net.residual_conv is None else given
    (restored,) = scratch.sweep(finish, [first, x], [3], x.height, x.width, halo=1)
    for feature in filter(None, (given, guide, x)):
        feature.free()
    whole = restored.rows(0, restored.height).x
    restored.free()
    return StripResult(crop_bottom_right(whole, height, width), indices, ties, scratch.most_on_disk)


def input_image(net: VQCNIR, image: Tensor, scratch: Scratch) -> tuple[Feature, Tensor | int]:
    """Return the image as the encoder gets it, brightened where the network has a curve, and D's share in it."""
    height, width = image.shape[-2:]
    x = scratch.feature(3, height, width)
    x.write(Strip(image, 0, height))
    if net.illumination is None:
        return x, 1
    curve, share = net.illumination.choose(image)
    brighten = partial(net.illumination.apply_curve, coefficients=curve)
    (brightened,) = scratch.sweep(lambda strip: strip.map(brighten), [x], [3], height, width, into=x)
    return brightened, share


def choose_codes(net: VQCNIR, x: Feature) -> tuple[Tensor, int]:
    """Return the nearest codes, [1, h, w], and the number of near ties."""
    codebook, chosen, ties = net.quantizer.codebook, [], 0
    step = max(1, TOKENS // x.width)
    for start in range(0, x.height, step):
        features = net.before_quant(x.rows(start, start + step).x)
        rows = features[0].flatten(1).t()
        distances = code_distances(rows, codebook)
        nearest, indices = distances.min(1)
        second = distances.scatter_(1, indices[:, None], torch.inf).amin(1)
        ties += int((second - nearest < NEAR_TIE * (nearest + rows.square().sum(1))).sum())
        chosen.append(indices.view(-1, x.width))
    return torch.cat(chosen)[None], ties
