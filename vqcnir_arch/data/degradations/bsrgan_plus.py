"""BSRGAN+, the mixture of BSRGAN and Real-ESRGAN that makes FeMaSR's and AdaCode's test sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vqcnir_arch.data.degradations.bsrgan import check_size
from vqcnir_arch.data.degradations.drawing import Drawing, Range
from vqcnir_arch.data.degradations.steps import Sharpen, degrade

# one round; the second lacks the JPEG
ROUND = ("blur", "resize", "gaussian", "poisson", "speckle", "camera", "jpeg")
OPERATIONS = ROUND + ROUND[:-1]
NOISES = (slice(2, 6), slice(9, 13))


@dataclass(frozen=True)
class BSRGANPlusSettings:
    """What `bsrgan_plus` draws from; the defaults are the published values."""

    scale: Literal[2, 4] = 4
    sharpen: bool = True  # unsharp masking before all else; off for an image that is sharpened already
    full_shuffle: float = 0.5  # probability of shuffling all operations, else only the noises of each round
    enlarge: float = 0.2  # probability in each resize
    shrink: float = 0.7
    enlarge_factor: Range = (1, 2)
    shrink_factor: Range = (0.5, 1)  # the lower bound is divided by the scale
    noise_levels: tuple[int, int] = (2, 25)  # of Gaussian noise and speckle, in 8-bit levels
    poisson: float = 0.1  # probability
    poisson_exponents: Range = (2, 4)  # of the number of photons at level 1
    speckle: float = 0.1
    qualities: tuple[int, int] = (30, 95)


def bsrgan_plus(
    image: np.ndarray, rng: np.random.Generator, settings: BSRGANPlusSettings | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Degrade and shrink an image.

    Two rounds of blur, resize and noises with a JPEG between them, shuffled; then a resize to 1 / scale and a JPEG.

    Args:
        image: [H, W, 3] RGB, float32 in [0, 1]; H and W are multiples of the scale.
        rng: the only source of all draws.
        settings: default: ×4.

    Returns:
        The degraded image [H / scale, W / scale, 3], and all draws, from which `remake` makes it again.

    Raises:
        UserError: the image has another type, shape or range.
    """
    settings = settings or BSRGANPlusSettings()
    drawing, order = draw_bsrgan_plus(rng, image.shape[:2], settings)
    return degrade(image, drawing.steps), drawing.record(variant="bsrgan_plus", scale=settings.scale, order=order)


def draw_bsrgan_plus(
    rng: np.random.Generator, size: tuple[int, int], settings: BSRGANPlusSettings
) -> tuple[Drawing, list[int]]:
    """Draw the steps for an image of `size` (height, width), and the order of the thirteen operations."""
    check_size(size, settings.scale)
    drawing = Drawing(rng, size)
    if settings.sharpen:
        drawing.steps.append(Sharpen())
    order = np.arange(len(OPERATIONS))
    if drawing.chance(settings.full_shuffle):
        rng.shuffle(order)
    else:
        for noises in NOISES:
            rng.shuffle(order[noises])
    for operation in order:
        add(drawing, OPERATIONS[operation], settings)
    drawing.resize(tuple(side // settings.scale for side in size))
    drawing.jpeg(settings.qualities)
    return drawing, order.tolist()


def add(drawing: Drawing, operation: str, settings: BSRGANPlusSettings) -> None:
    """Draw one operation; "camera" needs a model of a camera's processing, which nobody gives."""
    if operation == "blur":
        drawing.blur(settings.scale)
    elif operation == "resize":
        resize(drawing, settings)
    elif operation == "gaussian":
        drawing.gaussian_noise(settings.noise_levels)
    elif operation == "poisson" and drawing.chance(settings.poisson):
        drawing.poisson_noise(settings.poisson_exponents)
    elif operation == "speckle" and drawing.chance(settings.speckle):
        drawing.gaussian_noise(settings.noise_levels, speckle=True)
    elif operation == "jpeg":
        drawing.jpeg(settings.qualities)


def resize(drawing: Drawing, settings: BSRGANPlusSettings) -> None:
    """Add an enlargement, a shrinking, or nothing."""
    which = drawing.rng.random()
    if which < settings.enlarge:
        factor = drawing.uniform(settings.enlarge_factor)
    elif which < settings.enlarge + settings.shrink:
        low, high = settings.shrink_factor
        factor = drawing.uniform((low / settings.scale, high))
    else:
        return
    drawing.resize(tuple(side * factor for side in drawing.size))
