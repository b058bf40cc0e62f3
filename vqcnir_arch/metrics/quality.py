"""PSNR and SSIM of 8-bit images as BasicSR defines them, which need no BasicSR."""

from __future__ import annotations

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

LUMA = np.array([24.966, 128.553, 65.481])
"""BT.601's weights of blue, green and red in [0, 1] for Y, which is 16 where there is no light."""


def psnr(img: np.ndarray, img2: np.ndarray, crop_border: int = 0, test_y_channel: bool = False) -> float:
    """Return 10 log10(255² / MSE) in dB, infinite for equal images.

    Args:
        img: result, [H, W, 3] BGR in [0, 255].
        img2: ground truth, the same.
        crop_border: pixels at each edge that do not count.
        test_y_channel: compare Y of BT.601 alone.
    """
    img, img2 = (compared(image, crop_border, test_y_channel) for image in (img, img2))
    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(img2, img, data_range=255))


def ssim(img: np.ndarray, img2: np.ndarray, crop_border: int = 0, test_y_channel: bool = False) -> float:
    """Return the mean structural similarity, an 11×11 Gaussian window of σ 1.5, over the channels; as for `psnr`.

    Source: Wang et al., Image quality assessment, 2004.
    """
    img, img2 = (compared(image, crop_border, test_y_channel) for image in (img, img2))
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(img2, img, data_range=255, channel_axis=2, **window))


def compared(image: np.ndarray, crop_border: int, test_y_channel: bool) -> np.ndarray:
    """Return what of an image is compared, [H', W', 3] or [H', W', 1], float64."""
    inner = slice(crop_border, -crop_border or None)
    image = image[inner, inner]
    if test_y_channel:
        luma = (image.astype(np.float32) / 255 @ LUMA + 16)[..., None]
        image = (luma / 255).astype(np.float32) * 255  # rounded as BasicSR does
    return image.astype(np.float64)
