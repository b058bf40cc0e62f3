"""The face hosts' degradations: blur, shrink, noise, JPEG, and back to full size (GFPGAN's order); or strokes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from vqcnir_arch.data.degradations.drawing import Drawing, Range
from vqcnir_arch.data.degradations.face_steps import DrawStrokes, JitterColors, ShiftColors
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
    shift_colors: float = 0  # probability of a cast of up to SHIFT levels
    jitter_colors: float = 0  # probability of JITTER


SHIFT = 20.0
JITTER: dict[str, Range] = {
    "brightness": (0.5, 1.5),
    "contrast": (0.5, 1.5),
    "saturation": (0, 1.5),
    "hue": (-0.1, 0.1),
}
"""Factors, and parts of the circle for the hue; ours, CodeFormer's option file does not have them."""


@dataclass(frozen=True)
class StrokeSettings:
    """What the strokes of inpainting are drawn from; ours: CodeFormer's option file says only that there is a mask."""

    strokes: tuple[int, int] = (1, 5)
    corners: tuple[int, int] = (3, 10)  # of one stroke
    width: Range = (0.04, 0.12)  # of the pen, as a part of the face's width
    length: Range = (0.05, 0.25)  # between two corners, as a part of the face's side


FACE_SETTINGS: dict[str, FaceSettings | StrokeSettings] = {
    "codeformer_small": FaceSettings((0.1, 10), (1, 12), (0, 15), (60, 100)),
    "codeformer_large": FaceSettings((1, 15), (4, 30), (0, 20), (30, 80)),
    "daefr": FaceSettings((0.1, 15), (0.8, 30), (0, 20), (30, 100), kernel_sizes=(39, 41)),
    "daefr_light": FaceSettings((0.1, 10), (0.8, 8), (0, 20), (60, 100), kernel_sizes=(39, 41)),
    "codeformer_colors": FaceSettings(
        (1, 15), (4, 30), (0, 20), (30, 80), gray=0.01, shift_colors=0.3, jitter_colors=0.3
    ),
    "codeformer_strokes": StrokeSettings(),
    "vqfr_light": FaceSettings((0.1, 10), (0.8, 8), (0, 20), (60, 100)),
    "vqfr_heavy": FaceSettings((1, 15), (1, 30), (0, 20), (30, 90)),
}


def face(
    image: np.ndarray, rng: np.random.Generator, settings: FaceSettings | StrokeSettings
) -> tuple[np.ndarray, dict[str, Any]]:
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
    draw = draw_face if isinstance(settings, FaceSettings) else draw_strokes
    drawing = draw(rng, image.shape[:2], settings)
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
    if settings.shift_colors and drawing.chance(settings.shift_colors):
        drawing.steps.append(ShiftColors(levels=tuple(drawing.uniform((-SHIFT, SHIFT)) for _ in range(3))))
    if drawing.chance(settings.gray):
        drawing.steps.append(Gray())
    if settings.jitter_colors and drawing.chance(settings.jitter_colors):
        names = [str(name) for name in rng.permutation(list(JITTER))]
        drawing.steps.append(JitterColors(changes=tuple((name, drawing.uniform(JITTER[name])) for name in names)))
    drawing.steps.append(Quantize())
    return drawing


def draw_strokes(rng: np.random.Generator, size: tuple[int, int], settings: StrokeSettings) -> Drawing:
    """Draw the strokes over an image of `size` (height, width): each wanders from corner to corner."""
    drawing = Drawing(rng, size)
    strokes, widths = [], []
    for _ in range(drawing.integer(settings.strokes)):
        x, y, angle = drawing.uniform((0, 1)), drawing.uniform((0, 1)), drawing.uniform((-np.pi, np.pi))
        corners = [(x, y)]
        for _ in range(drawing.integer(settings.corners) - 1):
            angle += drawing.uniform((-np.pi / 2, np.pi / 2))
            length = drawing.uniform(settings.length)
            x, y = (float(np.clip(c + length * f(angle), 0, 1)) for c, f in ((x, np.cos), (y, np.sin)))
            corners.append((x, y))
        strokes.append(tuple(corners))
        widths.append(drawing.uniform(settings.width))
    drawing.steps += [DrawStrokes(strokes=tuple(strokes), widths=tuple(widths)), Quantize()]
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
