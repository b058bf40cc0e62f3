"""What a restoration must beat: the input, one gamma curve, the best gamma curve of each image, a flat image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from vqcnir_arch.metrics.quality import psnr, ssim

GAMMAS = np.exp(np.linspace(np.log(0.1), np.log(1.0), 91))


def read(path: Path) -> np.ndarray:
    """Read an image as HWC, BGR, uint8."""
    return cv2.imread(str(path), cv2.IMREAD_COLOR)


def apply_gamma(image: np.ndarray, gamma: float) -> np.ndarray:
    """Return 255 · (image / 255)^gamma, uint8."""
    table = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return table[image]


def fit_gamma(inputs: Iterable[np.ndarray], truths: Iterable[np.ndarray]) -> float:
    """Return the one gamma that has the lowest mean squared error over all pairs, uint8; each pair counts the same."""
    # a curve acts on levels: how many pixels each level has, and the sum of their truths, decide the error
    share, truth = np.zeros(256), np.zeros(256)
    for x, y in zip(inputs, truths, strict=True):
        share += np.bincount(x.ravel(), minlength=256) / x.size
        truth += np.bincount(x.ravel(), weights=y.ravel(), minlength=256) / x.size
    levels = np.arange(256, dtype=np.uint8)

    def error(gamma: float) -> float:
        curve = apply_gamma(levels, gamma).astype(np.float64)
        return float(np.sum(share * curve**2 - 2 * truth * curve))

    return float(min(GAMMAS, key=error))


def flat(truth: np.ndarray) -> np.ndarray:
    """Return an image of the truth's mean colour."""
    return np.broadcast_to(np.rint(truth.mean(axis=(0, 1))).astype(np.uint8), truth.shape).copy()


def score(image: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return PSNR (dB, RGB, 8 bit) and SSIM (RGB) as BasicSR computes them."""
    return psnr(image, truth), ssim(image, truth)
