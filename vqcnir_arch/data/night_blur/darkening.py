"""Make a photograph by day as dark as one by night: Zero-DCE's curve turned round, on Lab lightness."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.interpolate import CubicSpline

SATURATED = 0.97  # Lab L / 100 from which a pixel counts as saturated and keeps its level in the dark
CURVE_ITERATIONS = 10
LARGEST_AMOUNT = 0.95  # the curve is monotone up to 1


def lightness(rgb: np.ndarray) -> np.ndarray:
    """Return Lab L / 100, [H, W] in [0, 1], of an sRGB image [H, W, 3] in [0, 1]."""
    return cv2.cvtColor(rgb.astype(np.float32), cv2.COLOR_RGB2LAB)[..., 0].astype(np.float64) / 100


def darkening_curve(x: np.ndarray, amount: float | np.ndarray, jitter: Sequence[float] = ()) -> np.ndarray:
    """Apply x + a (x² - x) ten times. It is monotone on [0, 1] and fixes 0 and 1.

    Args:
        x: lightness in [0, 1].
        amount: a, one number or one per pixel.
        jitter: what a is multiplied by in each of the ten iterations; default: 1. No product goes above 1.
    """
    for k in range(CURVE_ITERATIONS):
        a = np.minimum(amount * jitter[k], 1) if jitter else amount
        x = x + a * (x * x - x)
    return x


def curve_amount(values: np.ndarray, exposure: float, jitter: Sequence[float] = ()) -> float:
    """Find the amount a in [0, 0.95] of the curve that brings the mean of `values` in [0, 1] down to `exposure`."""
    # the mean over a fine histogram, each bin at its own mean, is as good as over the pixels and a hundred times faster
    counts, edges = np.histogram(values, bins=2048, range=(0, 1))
    sums, _ = np.histogram(values, bins=edges, weights=values)
    filled = counts > 0
    weights = counts[filled] / max(counts.sum(), 1)
    bins = sums[filled] / counts[filled]
    low, high = 0.0, LARGEST_AMOUNT
    for _ in range(40):
        middle = (low + high) / 2
        if weights @ darkening_curve(bins, middle, jitter) > exposure:
            low = middle
        else:
            high = middle
    return low


def apply_curve(
    rgb: np.ndarray, level: np.ndarray, amount: float | np.ndarray, jitter: Sequence[float] = ()
) -> np.ndarray:
    """Darken sRGB [H, W, 3] by the curve on its lightness `level` [H, W]; saturated pixels keep their level."""
    target = np.where(level > SATURATED, level, darkening_curve(level, amount, jitter))
    return np.clip(rgb * (target / (level + 1e-8))[..., None], 0, 1)


def darken(rgb: np.ndarray, exposure: float) -> tuple[np.ndarray, float]:
    """Darken an image with one curve on its Lab lightness; saturated pixels keep their level.

    Args:
        rgb: sRGB, [H, W, 3] in [0, 1].
        exposure: mean of the curve's result over the pixels that are not saturated. An image that is darker stays.

    Returns:
        The dark image and the amount of the curve.
    """
    level = lightness(rgb)
    amount = curve_amount(level[level <= SATURATED], exposure)
    return apply_curve(rgb, level, amount), amount


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, int], grid: float, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Draw a smooth field in [-1, 1] for a frame and return it at some of its rows and columns.

    It is a bicubic spline through uniform random values on a grid.

    Args:
        rng: source of the values.
        shape: height and width of the frame.
        grid: pixels between two values.
        rows: rows that are wanted, in pixels.
        columns: columns that are wanted.
    """
    down, across = (int(side / grid) + 2 for side in shape)
    values = rng.uniform(-1, 1, (down, across))
    along_rows = CubicSpline(np.arange(down), values)(rows / grid)
    return np.clip(CubicSpline(np.arange(across), along_rows, axis=1)(columns / grid), -1, 1)
