"""Blur by a moving camera: point spread functions (PSFs) that vary over the frame, and objects that move themselves."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

TRAJECTORY_STEPS = 64
RING = 0.35  # distance of the control PSFs from the middle, as a share of the frame's sides
REACH = 0.25  # σ of a control PSF's mask, as a share of the frame's sides


def camera_path(rng: np.random.Generator, max_length: float, anxiety: float | None = None) -> np.ndarray:
    """Draw the path of a hand-held camera after Boracchi and Foi (IEEE TIP 2012): a particle with inertia.

    Args:
        rng: source of the path.
        max_length: length of the path in pixels.
        anxiety: how much the path bends; 0 is a straight line, 0.1 a scribble. Default: drawn between the two.

    Returns:
        Complex positions in pixels at 65 equal times; the path's length is `max_length`.
    """
    pull = 0.7 * rng.random()  # towards the start
    shake = 10 * rng.random()  # random change of direction
    jolt = 0.2 * rng.random()  # probability of a jerk backwards
    anxiety = 0.1 * rng.random() if anxiety is None else anxiety  # how much the three count
    step = max_length / TRAJECTORY_STEPS
    direction = np.exp(2j * np.pi * rng.random())
    position = np.zeros(TRAJECTORY_STEPS + 1, complex)
    for t in range(TRAJECTORY_STEPS):
        push = anxiety * (shake * complex(*rng.normal(size=2)) - pull * position[t])
        if rng.random() < jolt * anxiety:
            push += 2 * direction * np.exp(1j * (np.pi + rng.uniform(-0.5, 0.5)))
        direction = direction + push
        direction /= abs(direction)
        position[t + 1] = position[t] + step * direction
    return position


def motion_kernel(rng: np.random.Generator, max_length: float) -> np.ndarray:
    """Draw the point spread function of a moving camera.

    Args:
        rng: source of the path.
        max_length: length of the path in pixels; 0 gives a single 1 at the centre.

    Returns:
        The kernel, see `path_kernel`.
    """
    return path_kernel(camera_path(rng, max_length), max_length)


def path_kernel(path: np.ndarray, length: float) -> np.ndarray:
    """Return the point spread function of a path.

    Args:
        path: complex positions in pixels at equal times, an odd number of them.
        length: of the path in pixels.

    Returns:
        Non-negative kernel [N, N], N odd, whose sum is 1. The camera's position at half the exposure is at its centre,
        so that the blurred image is registered with the sharp frame of that moment.
    """
    # at least two samples per pixel of path, or a long one becomes a row of dots
    times = np.linspace(0, TRAJECTORY_STEPS, 2 * max(TRAJECTORY_STEPS, int(np.ceil(length))) + 1)
    path = np.interp(times, np.arange(path.size), path) - path[TRAJECTORY_STEPS // 2]
    radius = int(np.ceil(max(abs(path.real).max(), abs(path.imag).max())))
    kernel = np.zeros((2 * radius + 2, 2 * radius + 2))  # one more row and column than is kept, for the splat
    x, y = path.real + radius, path.imag + radius
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for dx, weight_x in ((0, 1 - (x - left)), (1, x - left)):
        for dy, weight_y in ((0, 1 - (y - top)), (1, y - top)):
            np.add.at(kernel, (top + dy, left + dx), weight_x * weight_y)
    return kernel[:-1, :-1] / path.size


def blur(light: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Filter linear light [H, W, 3] or a mask [H, W] with a kernel whose sum is 1, mirrored at the border."""
    # in double precision: the rounding errors of a single-precision Fourier transform are visible in the dark
    return cv2.filter2D(light, -1, kernel, borderType=cv2.BORDER_REFLECT)


def control_points(count: int, turn: float) -> np.ndarray:
    """Return `count` points [count, 2] on an ellipse around the middle, (x, y) as shares of the frame's sides."""
    angles = turn + 2 * np.pi * np.arange(count) / count
    return 0.5 + RING * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def rigid_kernels(path: np.ndarray, roll: float, points: np.ndarray, shape: tuple[int, int]) -> list[np.ndarray]:
    """Return the point spread functions that a camera which shifts and rolls has at some points of its frame.

    Args:
        path: the shift, complex positions in pixels, [65].
        roll: turn about the middle of the frame from the begin to the end of the exposure, in radians.
        points: (x, y) as shares of the frame's sides, [N, 2].
        shape: height and width of the frame.
    """
    angle = np.exp(1j * roll * np.linspace(-0.5, 0.5, path.size))
    kernels = []
    for x, y in points:
        from_middle = complex((x - 0.5) * shape[1], (y - 0.5) * shape[0])
        moved = path + from_middle * (angle - 1)
        kernels.append(path_kernel(moved, float(abs(np.diff(moved)).sum())))
    return kernels


def blend_masks(points: np.ndarray, shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return smooth weights [N, rows, columns] of control points, of sum 1 at every pixel."""
    x, y = columns / max(shape[1] - 1, 1), rows / max(shape[0] - 1, 1)
    masks = np.stack([
        np.exp(-((y - at_y)[:, None] ** 2 + (x - at_x)[None] ** 2) / (2 * REACH**2)) for at_x, at_y in points
    ])  # fmt: skip
    return masks / masks.sum(axis=0)


class Layer(NamedTuple):
    """An object that moves on its own: how it moves, and its mask [rows, columns] with soft edges."""

    kernel: np.ndarray
    mask: np.ndarray


def ellipse_mask(
    centre: tuple[float, float], radii: tuple[float, float], shape: tuple[int, int], rows: np.ndarray,
    columns: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return the mask [rows, columns] of an ellipse (x before y, shares of the sides) that fades out to its edge."""
    x = (columns / max(shape[1] - 1, 1) - centre[0]) / radii[0]
    y = (rows / max(shape[0] - 1, 1) - centre[1]) / radii[1]
    inside = np.clip(2 * (1 - np.hypot(y[:, None], x[None])), 0, 1)
    return inside * inside * (3 - 2 * inside)


def moving_camera(
    light: np.ndarray, kernels: list[np.ndarray], masks: np.ndarray, layer: Layer | None = None
) -> np.ndarray:
    """Blur linear light by kernels that take turns over the frame, and an object before it by its own.

    Args:
        light: [H, W, 3].
        kernels: of the camera, each of sum 1.
        masks: how much each counts, [N, H, W] of sum 1.
        layer: the object. What it covers for a part of the exposure shines through for the rest of it.
    """
    if all(kernel.size == 1 for kernel in kernels):
        blurred = light
    else:
        blurred = sum(blur(light, kernel) * mask[..., None] for kernel, mask in zip(kernels, masks, strict=True))
    if layer is None:
        return blurred
    mask = layer.mask[..., None]
    return blurred * (1 - blur(layer.mask, layer.kernel)[..., None]) + blur(light * mask, layer.kernel)
