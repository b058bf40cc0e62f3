"""The recipe: the five images of a pair, from what was drawn and the photograph alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np

from vqcnir_arch.data.night_blur.darkening import SATURATED, apply_curve, curve_amount, lightness, smooth_field
from vqcnir_arch.data.night_blur.drawing import draw
from vqcnir_arch.data.night_blur.lights import GAMMA, encode, lamp_level, point_lights, unclipped_light
from vqcnir_arch.data.night_blur.motion import (
    Layer,
    blend_masks,
    blur,
    camera_path,
    control_points,
    ellipse_mask,
    moving_camera,
    path_kernel,
    rigid_kernels,
)
from vqcnir_arch.data.night_blur.sensor import sensor_noise, to_uint8
from vqcnir_arch.data.night_blur.settings import DefocusDraws, NightBlurDraws, NightBlurRecipe, RealNightRecipe
from vqcnir_arch.data.operations import jpeg
from vqcnir_arch.errors import UserError

VERSION = 1  # goes up with every change that changes bytes
FOLDERS = ("low_blur_noise", "low_blur", "low_sharp", "high_sharp_scaled", "high_sharp_original")
REFERENCE_SIDE = 1120  # LOL-Blur's longer side, in pixels


class Crop(NamedTuple):
    """A piece of a frame in pixels."""

    top: int
    left: int
    height: int
    width: int


def make(
    image: np.ndarray, rng: np.random.Generator, *, jpeg_source: bool = False, **settings: Any
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Make a LOL-Blur-like pair; see `Recipe.make`."""
    return make_with(NightBlurRecipe(**settings), image, rng, jpeg_source)


def make_real(
    image: np.ndarray, rng: np.random.Generator, *, jpeg_source: bool = False, **settings: Any
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Make a pair with the noise of a real camera; see `Recipe.make`."""
    return make_with(RealNightRecipe(**settings), image, rng, jpeg_source)


def make_with(
    settings: NightBlurRecipe, image: np.ndarray, rng: np.random.Generator, jpeg_source: bool
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Draw, prepare the photograph, and make the pair."""
    draws = draw(rng, settings, jpeg_source)
    return render(prepare(image, draws), draws), draws.model_dump(mode="json")


def prepare(image: np.ndarray, draws: NightBlurDraws, smallest: int = 1) -> np.ndarray:
    """Shrink a photograph by area filtering as `draws` say, but its shorter side not below `smallest`.

    Raises:
        UserError: it is not [H, W, 3] of uint8.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f"expected an image [H, W, 3] of uint8, got {list(image.shape)} of {image.dtype}")
    factor = draws.shrink
    if draws.max_side is not None:
        factor = min(factor, draws.max_side / max(image.shape[:2]))
    factor = max(factor, smallest / min(image.shape[:2]))
    if factor >= 1:
        return image
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def render(photo: np.ndarray, draws: NightBlurDraws, crop: Crop | None = None) -> dict[str, np.ndarray]:
    """Make the five images of a pair; nothing is drawn but from the seeds in `draws`.

    Args:
        photo: the frame, [H, W, 3] RGB uint8, as `prepare` gives it.
        draws: from `draw`.
        crop: what is wanted of the frame. It comes out as if it were cut from the whole frame's images, but for the
            noise and JPEG blocks, which are its own.

    Returns:
        `FOLDERS` to [H, W, 3] RGB uint8.
    """
    shape = photo.shape[:2]
    scale = max(shape) / REFERENCE_SIDE
    crop = crop or Crop(0, 0, *shape)
    kernels, layer_kernel = motion_kernels(draws, shape, scale)
    spread = max(len(kernel) // 2 for kernel in (*kernels, layer_kernel)) + (
        draws.defocus.size // 2 if draws.defocus else 0
    )
    # blur brings light from around the crop, whatever the frame has there
    top, left = max(crop.top - spread, 0), max(crop.left - spread, 0)
    bottom, right = crop.top + crop.height + spread, crop.left + crop.width + spread
    rows, columns = (np.arange(a, min(b, n)) for a, b, n in ((top, bottom, shape[0]), (left, right, shape[1])))
    around = np.s_[top:bottom, left:right]
    inside = np.s_[crop.top - top : crop.top - top + crop.height, crop.left - left : crop.left - left + crop.width]

    bright = photo[around] / 255.0
    frame_level = lightness(photo / np.float32(255))
    level = frame_level[around]
    # solved on the whole frame, so that a crop may be darker or brighter than the frame is
    amount = curve_amount(frame_level[frame_level <= SATURATED], draws.exposure, draws.jitter)
    if amount and draws.variation:
        seeded = np.random.default_rng(draws.variation_seed)
        field = smooth_field(seeded, shape, max(draws.variation_grid * scale, 1), rows, columns)
        amount = amount * (1 + draws.variation * field)
    dark = apply_curve(bright, level, amount, draws.jitter)

    lamps = level > lamp_level(frame_level, draws.lamp_share)
    lights = point_lights(draws.lights, shape, scale, rows, columns)
    light = unclipped_light(dark, lamps, draws.unclip) + lights
    points = control_points(draws.control_psfs, draws.control_turn)
    layer = None
    if draws.layer is not None:
        layer = Layer(layer_kernel, ellipse_mask(draws.layer.centre, draws.layer.radii, shape, rows, columns))
    light = moving_camera(light, kernels, blend_masks(points, shape, rows, columns), layer)
    if draws.defocus is not None:
        light = blur(light, defocus_kernel(draws.defocus))

    light = np.clip(light[inside], 0, 1)
    noise = sensor_noise(np.random.default_rng(draws.noise_seed), light, draws.shot, draws.read, draws.demosaic)
    noisy = to_uint8(encode(light + noise))
    truth = lit(bright[inside], lights[inside])
    return {
        "low_blur_noise": noisy if draws.jpeg_quality is None else jpeg(noisy, draws.jpeg_quality),
        "low_blur": to_uint8(encode(light)),
        "low_sharp": to_uint8(lit(dark[inside], lights[inside])),
        "high_sharp_scaled": to_uint8(truth * draws.brightness),
        "high_sharp_original": to_uint8(truth),
    }


def motion_kernels(draws: NightBlurDraws, shape: tuple[int, int], scale: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the camera's point spread functions and the moving object's; [[1]] where nothing moves."""
    path = camera_path(np.random.default_rng(draws.path_seed), draws.max_length * scale, draws.anxiety)
    points = control_points(draws.control_psfs, draws.control_turn)
    kernels = rigid_kernels(path, np.radians(draws.roll), points, shape)
    layer = draws.layer
    if layer is None:
        return kernels, np.ones((1, 1))
    length = layer.max_length * scale
    return kernels, path_kernel(camera_path(np.random.default_rng(layer.path_seed), length, layer.anxiety), length)


def defocus_kernel(defocus: DefocusDraws) -> np.ndarray:
    """Return exp(-½ (pᵀ Σ⁻¹ p)^β), [size, size] of sum 1."""
    position = np.arange(defocus.size) - (defocus.size - 1) / 2
    grid = np.stack(np.meshgrid(position, position), axis=-1)
    cos, sin = np.cos(defocus.angle), np.sin(defocus.angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    inverse = np.linalg.inv(turn @ (np.diag(np.square(defocus.sigma)) @ turn.T))
    kernel = np.exp(-0.5 * np.power(np.sum(grid @ inverse * grid, axis=2), defocus.beta))
    return kernel / kernel.sum()


def lit(rgb: np.ndarray, lights: np.ndarray) -> np.ndarray:
    """Add linear light to sRGB [H, W, 3] and clip; a pixel without light keeps its value exactly."""
    where = lights.any(axis=2)
    result = rgb.copy()
    result[where] = encode(rgb[where] ** GAMMA + lights[where])
    return result
