"""Make LOL-Blur-like pairs from sharp photos: darken, blur by camera motion in linear light, add sensor noise.

This is a short version of how LOL-Blur was made (LEDNet, Zhou et al., ECCV 2022), without its networks: one motion per
image, and no defocus, point lights, moving objects or JPEG artefacts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vqcnir_arch.errors import UserError

GAMMA = 2.2
SATURATED = 0.97  # Lab L / 100 from which a pixel counts as saturated and keeps its level in the dark
REFERENCE_WIDTH = 1120  # LOL-Blur's, in pixels
CURVE_ITERATIONS = 10
TRAJECTORY_STEPS = 64
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
    light = blur(unclipped_light(dark, lamps(bright, settings.lamp_share), unclip), kernel)
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
        path = Path(root, split, version, video, f"{frame}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        _, content = cv2.imencode(".png", cv2.cvtColor(getattr(pair, version), cv2.COLOR_RGB2BGR))
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(content.tobytes())
        os.replace(temporary, path)


def log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Draw a number whose logarithm is uniform between those of `bounds`."""
    return float(np.exp(rng.uniform(*np.log(bounds))))


def lightness(rgb: np.ndarray) -> np.ndarray:
    """Return Lab L / 100, [H, W] in [0, 1], of an sRGB image [H, W, 3] in [0, 1]."""
    return cv2.cvtColor(rgb.astype(np.float32), cv2.COLOR_RGB2LAB)[..., 0].astype(np.float64) / 100


def darkening_curve(x: np.ndarray, amount: float) -> np.ndarray:
    """Apply x + a (x² - x) ten times: Zero-DCE's curve turned round. It is monotone on [0, 1] and fixes 0 and 1."""
    for _ in range(CURVE_ITERATIONS):
        x = x + amount * (x * x - x)
    return x


def curve_amount(values: np.ndarray, exposure: float) -> float:
    """Find the amount a in [0, 0.95] of the curve that brings the mean of `values` in [0, 1] down to `exposure`."""
    # the mean over a fine histogram, each bin at its own mean, is as good as over the pixels and a hundred times faster
    counts, edges = np.histogram(values, bins=2048, range=(0, 1))
    sums, _ = np.histogram(values, bins=edges, weights=values)
    filled = counts > 0
    weights = counts[filled] / max(counts.sum(), 1)
    bins = sums[filled] / counts[filled]
    low, high = 0.0, 0.95
    for _ in range(40):
        middle = (low + high) / 2
        if weights @ darkening_curve(bins, middle) > exposure:
            low = middle
        else:
            high = middle
    return low


def darken(rgb: np.ndarray, exposure: float) -> tuple[np.ndarray, float]:
    """Darken an image with one curve on its Lab lightness; saturated pixels keep their level.

    Args:
        rgb: sRGB, [H, W, 3] in [0, 1].
        exposure: mean of the curve's result over the pixels that are not saturated. An image that is darker stays.

    Returns:
        The dark image and the amount of the curve.
    """
    level = lightness(rgb)
    saturated = level > SATURATED
    amount = curve_amount(level[~saturated], exposure)
    target = np.where(saturated, level, darkening_curve(level, amount))
    return np.clip(rgb * (target / (level + 1e-8))[..., None], 0, 1), amount


def lamps(rgb: np.ndarray, share: float) -> np.ndarray:
    """Return the mask [H, W] of saturated pixels, at most the lightest `share` of the image.

    A plateau of equal pixels that is larger than that counts as sky and is left out whole.
    """
    level = lightness(rgb)
    return (level > SATURATED) & (level > np.quantile(level, 1 - share))


def unclipped_light(rgb: np.ndarray, mask: np.ndarray, unclip: float) -> np.ndarray:
    """Turn sRGB [H, W, 3] in [0, 1] into linear light; pixels in `mask` get `unclip` 8-bit levels more before that."""
    return (rgb + mask[..., None] * unclip / 255) ** GAMMA


def encode(light: np.ndarray) -> np.ndarray:
    """Clip linear light to [0, 1] and return it as sRGB (a plain gamma of 2.2)."""
    return np.clip(light, 0, 1) ** (1 / GAMMA)


def camera_path(rng: np.random.Generator, max_length: float) -> np.ndarray:
    """Draw the path of a hand-held camera after Boracchi and Foi (IEEE TIP 2012): a particle with inertia.

    Returns:
        Complex positions in pixels at 65 equal times; the path's length is `max_length`.
    """
    pull = 0.7 * rng.random()  # towards the start
    shake = 10 * rng.random()  # random change of direction
    jolt = 0.2 * rng.random()  # probability of a jerk backwards
    anxiety = 0.1 * rng.random()  # how much the three count; 0 is a straight line
    step = max_length / TRAJECTORY_STEPS
    direction = np.exp(2j * np.pi * rng.random())
    position = np.zeros(TRAJECTORY_STEPS + 1, complex)
    for t in range(TRAJECTORY_STEPS):
        push = anxiety * (shake * complex(*rng.normal(size=2)) - pull * position[t])
        if rng.random() < jolt * anxiety:
            push += 2 * direction * np.exp(1j * (np.pi + rng.uniform(-0.5, 0.5)))
        direction = direction + push
        direction /= abs(direction)
        position[t + 1] = position[t] + step * direction
    return position


def motion_kernel(rng: np.random.Generator, max_length: float) -> np.ndarray:
    """Draw the point spread function of a moving camera.

    Args:
        rng: source of the path.
        max_length: length of the path in pixels; 0 gives a single 1 at the centre.

    Returns:
        Non-negative kernel [N, N], N odd, whose sum is 1. The camera's position at half the exposure is at its centre,
        so that the blurred image is registered with the sharp frame of that moment.
    """
    path = camera_path(rng, max_length)
    # at least two samples per pixel of path, or a long one becomes a row of dots
    times = np.linspace(0, TRAJECTORY_STEPS, 2 * max(TRAJECTORY_STEPS, int(np.ceil(max_length))) + 1)
    path = np.interp(times, np.arange(path.size), path) - path[TRAJECTORY_STEPS // 2]
    radius = int(np.ceil(max(abs(path.real).max(), abs(path.imag).max())))
    kernel = np.zeros((2 * radius + 2, 2 * radius + 2))  # one more row and column than is kept, for the splat
    x, y = path.real + radius, path.imag + radius
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for dx, weight_x in ((0, 1 - (x - left)), (1, x - left)):
        for dy, weight_y in ((0, 1 - (y - top)), (1, y - top)):
            np.add.at(kernel, (top + dy, left + dx), weight_x * weight_y)
    return kernel[:-1, :-1] / path.size


def blur(light: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Filter linear light [H, W, 3] with a kernel whose sum is 1, mirrored at the border."""
    # in double precision: the rounding errors of a single-precision Fourier transform are visible in the dark
    return cv2.filter2D(light, -1, kernel, borderType=cv2.BORDER_REFLECT)


def read_noise(rng: np.random.Generator, shot: float) -> float:
    """Draw the variance of the read noise that goes with `shot` (Brooks et al., CVPR 2019)."""
    return float(np.exp(2.18 * np.log(shot) + 1.20 + rng.normal(0, 0.26)))


def sensor_noise(rng: np.random.Generator, light: np.ndarray, shot: float, read: float, demosaic: float) -> np.ndarray:
    """Draw noise of variance shot · light + read for linear light [H, W, 3], then smooth it (σ `demosaic`, 3x3)."""
    noise = rng.normal(size=light.shape) * np.sqrt(shot * np.clip(light, 0, 1) + read)
    weights = cv2.getGaussianKernel(3, max(demosaic, 1e-3))  # OpenCV reads σ 0 as "choose one"
    return cv2.sepFilter2D(noise, -1, weights, weights, borderType=cv2.BORDER_REFLECT)


def to_uint8(rgb: np.ndarray) -> np.ndarray:
    """Round [0, 1] to 8 bit."""
    return np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
