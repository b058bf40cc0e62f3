"""What a restoration must beat: the input, one gamma curve, the best gamma curve of each image, a flat image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from basicsr.metrics import calculate_psnr, calculate_ssim

GAMMAS = np.exp(np.linspace(np.log(0.1), np.log(1.0), 91))


def read(path: Path) -> np.ndarray:
    """Read an image as HWC, BGR, uint8."""
    return cv2.imread(str(path), cv2.IMREAD_COLOR)


def apply_gamma(image: np.ndarray, gamma: float) -> np.ndarray:
    """Return 255 · (image / 255)^gamma, uint8."""
    table = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return table[image]


def fit_gamma(inputs: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> float:
    """Return the one gamma that has the lowest mean squared error over all pairs."""
    pairs = list(zip(inputs, truths, strict=True))

    def error(gamma: float) -> float:
        return sum(np.square(apply_gamma(x, gamma).astype(np.float32) - y).mean() for x, y in pairs)

    return float(min(GAMMAS, key=error))


def flat(truth: np.ndarray) -> np.ndarray:
    """Return an image of the truth's mean colour."""
    return np.broadcast_to(np.rint(truth.mean(axis=(0, 1))).astype(np.uint8), truth.shape).copy()


def score(image: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return PSNR (dB, RGB, 8 bit) and SSIM (RGB) as BasicSR computes them."""
    return float(calculate_psnr(image, truth, crop_border=0)), float(calculate_ssim(image, truth, crop_border=0))
