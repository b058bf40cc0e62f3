"""Lights that are brighter than the sensor can hold: they leave streaks when the camera moves."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pydantic import BaseModel, ConfigDict

from vqcnir_arch.data.night_blur.darkening import SATURATED

GAMMA = 2.2
PRIMARIES = np.array([0.611, 0.549, 0.464])  # dominant wavelengths of sRGB's red, green and blue in µm
PLANCK = 14388.0  # second radiation constant in µm K
DAYLIGHT = 6500.0  # K; white in sRGB


class PointLight(BaseModel):
    """A lamp."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    x: float
    """Centre as a share of the frame's width."""
    y: float
    """Centre as a share of the frame's height."""
    radius: float
    """In pixels of a frame 1120 wide."""
    temperature: float
    """Colour in kelvin."""
    power: float
    """Linear light; the sensor saturates at 1."""


def lamps(level: np.ndarray, share: float) -> np.ndarray:
    """Return the mask [H, W] of saturated pixels, at most the lightest `share` of a frame of lightness `level`.

    A plateau of equal pixels that is larger than that counts as sky and is left out whole.
    """
    return level > lamp_level(level, share)


def lamp_level(level: np.ndarray, share: float) -> float:
    """Return the lightness above which a pixel of a frame is one of its lamps."""
    return max(SATURATED, float(np.quantile(level, 1 - share)))


def unclipped_light(rgb: np.ndarray, mask: np.ndarray, unclip: float) -> np.ndarray:
    """Turn sRGB [H, W, 3] in [0, 1] into linear light; pixels in `mask` get `unclip` 8-bit levels more before that."""
    return (rgb + mask[..., None] * unclip / 255) ** GAMMA


def encode(light: np.ndarray) -> np.ndarray:
    """Clip linear light to [0, 1] and return it as sRGB (a plain gamma of 2.2)."""
    return np.clip(light, 0, 1) ** (1 / GAMMA)


def black_body(temperature: float) -> np.ndarray:
    """Return the colour [3] of a glowing body as linear RGB whose largest part is 1: Planck's law, white at 6500 K."""

    def radiance(kelvin: float) -> np.ndarray:
        return 1 / (PRIMARIES**5 * np.expm1(PLANCK / (PRIMARIES * kelvin)))

    colour = radiance(temperature) / radiance(DAYLIGHT)
    return colour / colour.max()


def point_lights(
    lights: Iterable[PointLight], shape: tuple[int, int], scale: float, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Return the linear light [rows, columns, 3] of lamps, discs with smooth edges, at some rows and columns.

    Args:
        lights: the lamps.
        shape: height and width of the frame.
        scale: pixels per pixel of a frame 1120 wide.
        rows: rows that are wanted, in pixels.
        columns: columns that are wanted.
    """
    light = np.zeros((rows.size, columns.size, 3))
    for lamp in lights:
        # a lamp smaller than a pixel is a dimmer one of a pixel's size: its light is kept
        radius = max(lamp.radius * scale, 0.5)
        power = lamp.power * (lamp.radius * scale / radius) ** 2
        down, across = rows - lamp.y * (shape[0] - 1), columns - lamp.x * (shape[1] - 1)
        near = np.ix_(abs(down) <= radius + 1, abs(across) <= radius + 1)
        distance = np.hypot(*np.meshgrid(down[near[0].ravel()], across[near[1].ravel()], indexing="ij"))
        light[near] += power * np.clip(radius + 0.5 - distance, 0, 1)[..., None] * black_body(lamp.temperature)
    return light
