"""The steps that degradations consist of: each holds what was drawn for it and applies itself to an image.

Images are [H, W, 3] RGB, float32 in [0, 1]. A step may leave that range; `degrade` clips after each.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import cv2
import numpy as np
from basicsr.data.degradations import bivariate_Gaussian
from basicsr.utils.img_process_util import usm_sharp
from basicsr.utils.matlab_functions import imresize
from pydantic import Field, TypeAdapter

from vqcnir_arch.data.degradations.face_steps import DrawStrokes, JitterColors, ShiftColors
from vqcnir_arch.data.degradations.step import Step
from vqcnir_arch.data.operations import jpeg
from vqcnir_arch.errors import UserError

RESIZE_MODES = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
SMALLEST_SIGMA = 1e-3  # a smaller one gives the same kernel, a single 1, but no invertible covariance
DECIMATION_KERNEL = 25  # side in pixels


class GaussianBlur(Step):
    """Gaussian of standard deviations `sigma` in pixels along its two axes, turned by `angle`; mirrored borders."""

    op: Literal["blur"] = "blur"
    size: int
    sigma: tuple[float, float]
    angle: float

    def __call__(self, image: np.ndarray) -> np.ndarray:
        sigma_x, sigma_y = (max(sigma, SMALLEST_SIGMA) for sigma in self.sigma)
        kernel = bivariate_Gaussian(self.size, sigma_x, sigma_y, self.angle, isotropic=False)
        return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


class Resize(Step):
    """OpenCV's resizing to `size` (height, width)."""

    op: Literal["resize"] = "resize"
    size: tuple[int, int]
    mode: Literal["linear", "cubic", "area"]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return cv2.resize(image, self.size[::-1], interpolation=RESIZE_MODES[self.mode])


class HalveBicubic(Step):
    """MATLAB's bicubic `imresize` by a half, with antialiasing."""

    op: Literal["halve_bicubic"] = "halve_bicubic"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(imresize(image, 0.5))


class Decimate(Step):
    """Gaussian blur, then every `factor`-th pixel.

    The Gaussian is shifted by (factor - 1) / 2 pixels: a kept pixel is the first of its block of factor x factor, and
    has to stand for the block's centre.
    """

    op: Literal["decimate"] = "decimate"
    sigma: float
    factor: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        position = np.arange(DECIMATION_KERNEL) - DECIMATION_KERNEL // 2 - (self.factor - 1) / 2
        weights = np.exp(-0.5 * (position / self.sigma) ** 2)
        weights /= weights.sum()
        blurred = cv2.sepFilter2D(image, -1, weights, weights, borderType=cv2.BORDER_REFLECT_101)
        return np.ascontiguousarray(blurred[:: self.factor, :: self.factor])


class GaussianNoise(Step):
    """Normal noise of standard deviation `level` in 8-bit levels: drawn per channel, or once for all three (gray).

    Correlated noise has the 3x3 covariance `covariance` between the channels, in units of [0, 1], and no level. With
    `speckle` the noise is multiplied by the image.
    """

    op: Literal["gaussian_noise"] = "gaussian_noise"
    kind: Literal["color", "gray", "correlated"]
    level: float | None = None
    covariance: tuple[tuple[float, float, float], ...] | None = None
    speckle: bool = False
    seed: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        if self.kind == "correlated":
            noise = rng.multivariate_normal(np.zeros(3), self.covariance, image.shape[:2], method="eigh")
        else:
            channels = 1 if self.kind == "gray" else 3
            noise = rng.standard_normal((*image.shape[:2], channels), np.float32) * (self.level / 255)
        return image + (image * noise if self.speckle else noise).astype(np.float32)


class PoissonNoise(Step):
    """Shot noise of `peak` photons at level 1; with `gray` it is that of the luma, the same in all three channels."""

    op: Literal["poisson_noise"] = "poisson_noise"
    peak: float
    gray: bool
    seed: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] if self.gray else image
        noise = np.random.default_rng(self.seed).poisson(light * self.peak) / self.peak - light
        return image + noise.astype(np.float32)


class Jpeg(Step):
    """JPEG compression."""

    op: Literal["jpeg"] = "jpeg"
    quality: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return as_float(jpeg(to_uint8(image), self.quality))


class Sharpen(Step):
    """Unsharp masking as in Real-ESRGAN, where the image differs from its blur by more than `threshold` levels."""

    op: Literal["sharpen"] = "sharpen"
    weight: float = 0.5
    radius: int = 51
    threshold: float = 10

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return usm_sharp(image, self.weight, self.radius, self.threshold)


class Gray(Step):
    """BT.601 luma in all three channels."""

    op: Literal["gray"] = "gray"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


class Quantize(Step):
    """8-bit levels, by rounding."""

    op: Literal["quantize"] = "quantize"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return as_float(to_uint8(image))


STEPS = TypeAdapter(
    list[
        Annotated[
            GaussianBlur
            | Resize
            | HalveBicubic
            | Decimate
            | GaussianNoise
            | PoissonNoise
            | Jpeg
            | Sharpen
            | Gray
            | ShiftColors
            | JitterColors
            | DrawStrokes
            | Quantize,
            Field(discriminator="op"),
        ]
    ]
)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Round [0, 1] to 8-bit levels."""
    return np.round(image * 255).astype(np.uint8)


def as_float(levels: np.ndarray) -> np.ndarray:
    """Turn uint8 into float32 in [0, 1]."""
    return levels.astype(np.float32) / 255


def check_image(image: np.ndarray) -> None:
    """Raise `UserError` unless `image` is what every degradation takes: [H, W, 3], float32, in [0, 1]."""
    is_image = isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.float32
    if not is_image or not image.size:
        given = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UserError(f"expected an RGB image [H, W, 3] of float32 in [0, 1], got {given}")
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 1):
        raise UserError(f"expected an RGB image in [0, 1], got values from {low:g} to {high:g}")


def degrade(image: np.ndarray, steps: list[Step]) -> np.ndarray:
    """Apply steps one after another to [H, W, 3] RGB, float32 in [0, 1], and clip to [0, 1] after each.

    Raises:
        UserError: the image has another type, shape or range.
    """
    check_image(image)
    for step in steps:
        image = np.clip(step(image), 0, 1)
    return image


def remake(image: np.ndarray, draws: dict[str, Any]) -> np.ndarray:
    """Degrade an image once more with the draws that a degradation returned, also after a way through JSON.

    Raises:
        UserError: the image does not have the size that the draws were made for.
    """
    if list(image.shape[:2]) != list(draws["size"]):
        raise UserError(
            f"the draws are for an image of {draws['size'][1]} x {draws['size'][0]}, "
            f"this one is {image.shape[1]} x {image.shape[0]}"
        )
    return degrade(image, STEPS.validate_python(draws["steps"]))
