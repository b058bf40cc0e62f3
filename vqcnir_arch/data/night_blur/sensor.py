"""What happens behind the lens: noise of photons and electronics, and 8 bit."""

from __future__ import annotations

import cv2
import numpy as np


def log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Draw a number whose logarithm is uniform between those of `bounds`."""
    return float(np.exp(rng.uniform(*np.log(bounds))))


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
