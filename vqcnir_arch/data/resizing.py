"""The random resize with which FeMaSR and AdaCode train: a pair is shrunk, then cropped."""

from __future__ import annotations

import cv2
import numpy as np


def shrink(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize [H, W, 3] in [0, 1] by bicubic interpolation."""
    return np.clip(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def shrink_pair(
    gt: np.ndarray, lq: np.ndarray, gt_size: int, scale: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Shrink a pair by one factor, uniform between the one that makes the shorter side of `gt` `gt_size` and 1.

    A patch of 512 pixels and crops of 256 are the published case: factors 0.5 to 1.

    Args:
        gt: [H, W, 3] in [0, 1].
        lq: [H / scale, W / scale, 3] in [0, 1].
        gt_size: side of the crop that is cut out of the result.
        scale: size of `gt` over size of `lq`; it stays exact.
        rng: of the one draw.
    """
    shorter = min(gt.shape[:2])
    factor = rng.uniform(gt_size, shorter) / shorter
    height, width = (max(gt_size // scale, round(side * factor)) for side in lq.shape[:2])
    return shrink(gt, height * scale, width * scale), shrink(lq, height, width)
