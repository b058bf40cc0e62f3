"""The face hosts' degradation: blur, shrink, noise, JPEG, and back to full size (GFPGAN's order)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from vqcnir_arch.data.degradations.drawing import Drawing, Range
from vqcnir_arch.data.degradations.steps import GaussianBlur, GaussianNoise, Gray, Jpeg, Quantize, degrade
from vqcnir_arch.errors import UserError


@dataclass(frozen=True)
class FaceSettings:
    """What `face` draws from."""

    sigma: Range  # of the blur, in pixels of the full size
    shrink: Range  # full size over small size
    noise_levels: Range  # standard deviation in 8-bit levels
    qualities: Range  # of the JPEG, cut to an integer
    kernel_sizes: tuple[int, ...] = (41,)
    anisotropic: float = 0.5  # probability
    gray: float = 0  # probability of a grey result


FACE_SETTINGS = {
    "codeformer_small": FaceSettings((0.1, 10), (1, 12), (0, 15), (60, 100)),
    "codeformer_large": FaceSettings((1, 15), (4, 30), (0, 20), (30, 80)),
    "daefr": FaceSettings((0.1, 15), (0.8, 30), (0, 20), (30, 100), kernel_sizes=(39, 41)),
    "daefr_light": FaceSettings((0.1, 10), (0.8, 8), (0, 20), (60, 100), kernel_sizes=(39, 41)),
    "vqfr_light": FaceSettings((0.1, 10), (0.8, 8), (0, 20), (60, 100)),
    "vqfr_heavy": FaceSettings((1, 15), (1, 30), (0, 20), (30, 90)),
}


def face(image: np.ndarray, rng: np.random.Generator, settings: FaceSettings) -> tuple[np.ndarray, dict[str, Any]]:
    """Degrade an image; its size stays.

    Args:
        image: [H, W, 3] RGB, float32 in [0, 1]; the published settings are for 512x512.
        rng: the only source of all draws.
        settings: one of `FACE_SETTINGS`, or another.

    Returns:
        The degraded image [H, W, 3] at 8-bit levels, and all draws, from which `remake` makes it again.

    Raises:
        UserError: the image has another type, shape or range.
    """
    drawing = draw_face(rng, image.shape[:2], settings)
    return degrade(image, drawing.steps), drawing.record()


def draw_face(rng: np.random.Generator, size: tuple[int, int], settings: FaceSettings) -> Drawing:
    """Draw the steps for an image of `size` (height, width)."""
    drawing = Drawing(rng, size)
    kernel_size = drawing.one_of(settings.kernel_sizes)
    if drawing.chance(settings.anisotropic):
        sigma = (drawing.uniform(settings.sigma), drawing.uniform(settings.sigma))
        angle = drawing.uniform((-np.pi, np.pi))
    else:
        sigma, angle = (drawing.uniform(settings.sigma),) * 2, 0.0
    drawing.steps.append(GaussianBlur(size=kernel_size, sigma=sigma, angle=angle))
    factor = drawing.uniform(settings.shrink)
    drawing.resize(tuple(side // factor for side in size), "linear")
    level = drawing.uniform(settings.noise_levels)
    drawing.steps.append(GaussianNoise(kind="color", level=level, seed=drawing.seed()))
    drawing.steps.append(Jpeg(quality=int(drawing.uniform(settings.qualities))))
    drawing.resize(size, "linear")
    if drawing.chance(settings.gray):
        drawing.steps.append(Gray())
    drawing.steps.append(Quantize())
    return drawing


def full_size(image: np.ndarray, side: int) -> np.ndarray:
    """Return a face [H, W, 3] uint8 as one of `side` pixels; a larger square one is shrunk by area.

    Raises:
        UserError: the image is not square, or smaller.
    """
    height, width = image.shape[:2]
    if height != width or height < side:
        raise UserError(f"a face is expected as a square of {side} pixels or more, got {width} x {height}")
    return image if height == side else cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
