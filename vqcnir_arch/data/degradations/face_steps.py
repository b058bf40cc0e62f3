"""The steps of CodeFormer's colourisation and inpainting alone: colours that are off, and strokes over a face."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import torch
from torchvision.transforms.v2 import functional

from vqcnir_arch.data.degradations.step import Step

Point = tuple[float, float]


class ShiftColors(Step):
    """Add to each channel a number of 8-bit levels: a cast of colour."""

    op: Literal["shift_colors"] = "shift_colors"
    levels: tuple[float, float, float]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return image + np.float32(self.levels) / 255


class JitterColors(Step):
    """Torchvision's changes of colour, in a drawn order; `hue` is a part of the circle, the others are factors."""

    op: Literal["jitter_colors"] = "jitter_colors"
    changes: tuple[tuple[Literal["brightness", "contrast", "saturation", "hue"], float], ...]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        changed = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        for name, value in self.changes:
            changed = getattr(functional, f"adjust_{name}")(changed, value)
        return changed.permute(1, 2, 0).numpy()


class DrawStrokes(Step):
    """Cover the image with white strokes; corners as parts of the image's width and height, widths of its width."""

    op: Literal["draw_strokes"] = "draw_strokes"
    strokes: tuple[tuple[Point, ...], ...]
    widths: tuple[float, ...]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        covered = image.copy()
        for corners, thickness in zip(self.strokes, self.widths, strict=True):
            pixels = np.round(np.float64(corners) * (width - 1, height - 1)).astype(np.int32)
            pen = max(1, round(thickness * width))
            cv2.polylines(covered, [pixels], isClosed=False, color=(1, 1, 1), thickness=pen)
            for corner in pixels.tolist():  # round ends and joints
                cv2.circle(covered, corner, pen // 2, (1, 1, 1), thickness=-1)
        return covered
