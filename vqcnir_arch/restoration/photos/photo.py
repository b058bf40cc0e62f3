"""A photograph in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from vqcnir_arch.restoration.photos.metadata import Metadata


@dataclass(frozen=True)
class Photo:
    """An upright photograph and what its file says beside the colours.

    Attributes:
        rgb: [H, W, 3], float32 in [0, 1], in the colour space of the file; grey is repeated.
        alpha: [H, W], float32 in [0, 1], or None; the colours are not multiplied by it.
        grey: whether the file has no colours.
        bits: 8 or 16 per channel.
        icc: colour profile, or None; colours are not converted, so it holds for the result as well.
        cicp: the four numbers of PNG's `cICP` where they name HDR colours (PQ, HLG), which no profile can; else None.
        lossless: whether a WebP file keeps every value.
        metadata: the rest, as EXIF.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    bits: int = 8
    icc: bytes | None = None
    cicp: bytes | None = None
    lossless: bool = False
    metadata: Metadata = field(default_factory=Metadata)

    def with_colours(self, rgb: np.ndarray) -> Photo:
        """Return the photograph in other colours, [H', W', 3]; where they are larger, its transparency grows too."""
        return replace(self, rgb=rgb, alpha=None if self.alpha is None else resized(self.alpha, rgb))


def resized(pixels: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return [H, W] or [H, W, 3] in [0, 1] in the height and width of another image, bicubic where they differ."""
    height, width = like.shape[:2]
    if pixels.shape[:2] == (height, width):
        return pixels
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
