"""BSRGAN's degradation (Zhang et al., ICCV 2021), as FeMaSR and AdaCode make their training pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vqcnir_arch.data.degradations.drawing import Drawing, Range
from vqcnir_arch.data.degradations.steps import Decimate, HalveBicubic, degrade
from vqcnir_arch.errors import UserError

# operations, by their published numbers; 0 and 1 are the two blurs
DOWNSAMPLE, FIT, NOISE, JPEG, CAMERA = range(2, 7)


@dataclass(frozen=True)
class BSRGANSettings:
    """What `bsrgan` draws from; the defaults are the published values."""

    scale: Literal[2, 4] = 4
    halve: float = 0.25  # probability, at scale 4, of halving first and going on with scale 2
    jpeg: float = 0.9  # probability of the JPEG before the last one
    resize: float = 0.75  # probability of resizing as against decimation in the downsampling
    noise_levels: tuple[int, int] = (2, 25)  # standard deviation in 8-bit levels
    qualities: tuple[int, int] = (30, 95)
    decimation_sigma: Range = (0.1, 0.6)  # in pixels; the upper bound is multiplied by the scale


def smallest_side(scale: int) -> int:
    """Return how many pixels a photograph needs at least, so that its shrunk versions can be filtered."""
    return 4 * scale


def check_large_enough(size: tuple[int, int], scale: int) -> None:
    """Raise `UserError` if an image of `size` (height, width) is too small to be degraded."""
    least = smallest_side(scale)
    if min(size) < least:
        raise UserError(f"the image is {size[1]} x {size[0]}, expected at least {least} x {least} for scale {scale}")


def check_size(size: tuple[int, int], scale: int) -> None:
    """Raise `UserError` unless height and width are large enough multiples of the scale, and that is 2 or 4."""
    if scale not in (2, 4):
        raise UserError(f"scale {scale}: BSRGAN's degradations are for 2 and 4")
    check_large_enough(size, scale)
    height, width = size
    if height % scale or width % scale:
        raise UserError(f"the image is {width} x {height}, expected multiples of the scale {scale} (mod-crop it first)")


def bsrgan(
    image: np.ndarray, rng: np.random.Generator, settings: BSRGANSettings | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Degrade and shrink an image.

    Two blurs, downsampling, noise and JPEG come in random order; a last JPEG follows.

    Args:
        image: [H, W, 3] RGB, float32 in [0, 1]; H and W are multiples of the scale.
        rng: the only source of all draws.
        settings: default: ×4.

    Returns:
        The degraded image [H / scale, W / scale, 3], and all draws, from which `remake` makes it again.

    Raises:
        UserError: the image has another type, shape or range.
    """
    settings = settings or BSRGANSettings()
    drawing, order = draw_bsrgan(rng, image.shape[:2], settings)
    return degrade(image, drawing.steps), drawing.record(variant="bsrgan", scale=settings.scale, order=order)


def draw_bsrgan(rng: np.random.Generator, size: tuple[int, int], settings: BSRGANSettings) -> tuple[Drawing, list[int]]:
    """Draw the steps for an image of `size` (height, width), and the order of the seven operations."""
    check_size(size, settings.scale)
    drawing, scale = Drawing(rng, size), settings.scale
    if scale == 4 and drawing.chance(settings.halve):
        halve(drawing)
        scale = 2
    order = rng.permutation(7).tolist()
    first, second = sorted((order.index(DOWNSAMPLE), order.index(FIT)))
    order[first], order[second] = DOWNSAMPLE, FIT
    fitted = tuple(side / scale for side in drawing.size)
    for operation in order:
        if operation < DOWNSAMPLE:
            drawing.blur(scale)
        elif operation == DOWNSAMPLE:
            downsample(drawing, scale, settings)
        elif operation == FIT:
            drawing.resize(fitted)
        elif operation == NOISE:
            drawing.gaussian_noise(settings.noise_levels)
        elif operation == JPEG and drawing.chance(settings.jpeg):
            drawing.jpeg(settings.qualities)
        # CAMERA needs a model of a camera's processing, which neither FeMaSR nor AdaCode gives
    drawing.jpeg(settings.qualities)
    return drawing, order


def halve(drawing: Drawing) -> None:
    """Add the halving, by OpenCV or by MATLAB's bicubic."""
    half = tuple(side // 2 for side in drawing.size)
    if drawing.chance(0.5):
        drawing.resize(half)
    else:
        drawing.steps.append(HalveBicubic())
        drawing.size = half


def downsample(drawing: Drawing, scale: int, settings: BSRGANSettings) -> None:
    """Add a shrinking by a random factor, or a decimation by the scale."""
    if drawing.chance(settings.resize):
        factor = drawing.uniform((1, 2 * scale))
        drawing.resize(tuple(side / factor for side in drawing.size))
    else:
        low, high = settings.decimation_sigma
        drawing.steps.append(Decimate(sigma=drawing.uniform((low, high * scale)), factor=scale))
        drawing.size = tuple(side // scale for side in drawing.size)
