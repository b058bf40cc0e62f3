"""The demo's short version of the recipe: one motion per image, and no lamps, defocus, moving objects or JPEG."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vqcnir_arch.atomic_files import write_file
from vqcnir_arch.data.files import encode_png
from vqcnir_arch.data.night_blur.darkening import darken, lightness
from vqcnir_arch.data.night_blur.lights import encode, lamps, unclipped_light
from vqcnir_arch.data.night_blur.motion import blur, motion_kernel
from vqcnir_arch.data.night_blur.sensor import log_uniform, read_noise, sensor_noise, to_uint8
from vqcnir_arch.errors import UserError

REFERENCE_WIDTH = 1120  # LOL-Blur's, in pixels
LAYOUT = ("low_blur_noise", "low_blur", "high_sharp_scaled", "high_sharp_original")


@dataclass(frozen=True)
class NightBlurSettings:
    """Ranges (low, high) that `night_blur_pair` draws from; the defaults match LOL-Blur's measured frames."""

    exposure: tuple[float, float] = (0.02, 0.16)
    """Mean Lab L / 100 of the dark image outside saturated regions; log-uniform."""
    brightness: tuple[float, float] = (0.8, 1.0)
    """Factor from `high_sharp_original` to `high_sharp_scaled`; uniform."""
    max_length: tuple[float, float] = (5.0, 60.0)
    """Length of the camera's path in pixels at an image width of 1120, scaled with the width; uniform."""
    no_motion: float = 0.1
    """Probability of a camera at rest."""
    unclip: tuple[float, float] = (20.0, 100.0)
    """What lamps get added before the blur, in 8-bit levels, so that they leave streaks; uniform."""
    lamp_share: float = 0.01
    """Largest share of the pixels that lamps may cover: larger saturated regions of day photos are sky."""
    shot: tuple[float, float] = (5e-6, 1e-4)
    """Variance of the shot noise per unit of linear light; log-uniform. It decides the read noise."""
    demosaic: tuple[float, float] = (0.0, 0.7)
    """σ in pixels of the 3x3 Gaussian that correlates the noise of neighbours, as demosaicing does; uniform."""


@dataclass(frozen=True)
class NightBlurPair:
    """One scene in LOL-Blur's four versions, each [H, W, 3] RGB uint8, and what was drawn to make them."""

    low_blur_noise: np.ndarray
    low_blur: np.ndarray
    high_sharp_scaled: np.ndarray
    high_sharp_original: np.ndarray
    draws: dict[str, Any]


def night_blur_pair(
    sharp: np.ndarray, rng: np.random.Generator, settings: NightBlurSettings | None = None
) -> NightBlurPair:
    """Make one pair; the same photo, generator state and settings give the same bytes.

    Args:
        sharp: photo by day, [H, W, 3] RGB uint8.
        rng: source of every draw.
        settings: ranges of the draws; default: `NightBlurSettings()`.

    Raises:
        UserError: `sharp` is not such an image.
    """
    if sharp.dtype != np.uint8 or sharp.ndim != 3 or sharp.shape[2] != 3:
        raise UserError(f"expected an image [H, W, 3] of uint8, got {list(sharp.shape)} of {sharp.dtype}")
    settings = settings or NightBlurSettings()
    exposure = log_uniform(rng, settings.exposure)
    brightness = rng.uniform(*settings.brightness)
    max_length = rng.uniform(*settings.max_length) * sharp.shape[1] / REFERENCE_WIDTH
    if rng.random() < settings.no_motion:
        max_length = 0.0
    unclip = rng.uniform(*settings.unclip)
    shot = log_uniform(rng, settings.shot)
    read = read_noise(rng, shot)
    demosaic = rng.uniform(*settings.demosaic)
    kernel = motion_kernel(rng, max_length)

    bright = sharp / 255.0
    dark, curve = darken(bright, exposure)
    light = blur(unclipped_light(dark, lamps(lightness(bright), settings.lamp_share), unclip), kernel)
    noisy = light + sensor_noise(rng, light, shot, read, demosaic)
    return NightBlurPair(
        low_blur_noise=to_uint8(encode(noisy)),
        low_blur=to_uint8(encode(light)),
        high_sharp_scaled=to_uint8(bright * brightness),
        high_sharp_original=sharp.copy(),
        draws={
            "exposure": exposure,
            "curve": curve,
            "brightness": brightness,
            "max_length": max_length,
            "kernel": kernel,
            "unclip": unclip,
            "shot": shot,
            "read": read,
            "demosaic": demosaic,
        },
    )


def write_lolblur(root: str | os.PathLike[str], split: str, video: str, frame: str, pair: NightBlurPair) -> None:
    """Write `<root>/<split>/<version>/<video>/<frame>.png` for the four versions; a file is whole or not there."""
    for version in LAYOUT:
        write_file(Path(root, split, version, video, f"{frame}.png"), encode_png(getattr(pair, version)))
