"""How a column is computed: BasicSR and scikit-image per image on the CPU, pyiqa in batches on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np
import torch

from vqcnir_arch.errors import UserError
from vqcnir_arch.evaluation.protocols import PIXELS_FLOAT, Column, Protocol
from vqcnir_arch.metrics.quality import psnr, ssim
from vqcnir_arch.registry import NEEDS_BASICSR, has_basicsr

PLAIN = {"calculate_psnr": psnr, "calculate_ssim": ssim}
PACKAGES = {"basicsr": "basicsr", "scikit-image": "scikit-image", "pyiqa": "pyiqa", "torch": "torch"}
LEAST = {
    **dict.fromkeys(("calculate_niqe", "niqe", "pi"), (2, 96)),
    **dict.fromkeys(("calculate_ssim", "ssim", "ssimc", "structural_similarity"), (1, 11)),
}
"""What an image must hold for a metric to have a value: so many squares, of so many pixels a side."""
HostFunction = Callable[[np.ndarray, "np.ndarray | None"], float]
BatchFunction = Callable[[Sequence[np.ndarray], "Sequence[np.ndarray] | None"], list[float]]


def versions() -> dict[str, str]:
    """Return the versions of what the numbers depend on."""
    return {name: installed(package) for name, package in PACKAGES.items()}


def installed(package: str) -> str:
    """Return the version of a package; of BasicSR, which is not there on every Python, also that there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def fingerprint(column: Column, protocol: Protocol) -> str:
    """Return all that decides a column's values but the images: settings, library versions, weight files."""
    from vqcnir_arch.metrics.pyiqa_metric import WEIGHT_FILES

    libraries = {column.library: installed(PACKAGES[column.library])}
    weights = []
    if column.library == "pyiqa":
        libraries["torch"] = version("torch")
        for file in WEIGHT_FILES.get(column.metric, []):
            path = Path(torch.hub.get_dir(), file)
            if path.is_file():
                weights.append(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}")
    made_with = [f"{name} {number}" for name, number in libraries.items()]
    return "; ".join([column.settings, f"crop {protocol.crop_border}", protocol.pixels, *made_with, *weights])


def host_function(column: Column, protocol: Protocol) -> HostFunction:
    """Return the function of a column that needs no network: (result, truth), [H, W, 3] BGR, to a number.

    Where there is no BasicSR, its PSNR and SSIM are ours, which give the same.

    Raises:
        UserError: there is no BasicSR, and it is another metric of its.
    """
    border = protocol.crop_border
    if column.library == "basicsr":
        function = basicsr_function(column.metric)

        def measure(result: np.ndarray, truth: np.ndarray | None) -> float:
            if column.gt_mean:
                result = scaled_to_mean(result, truth)
            images = {"img": result} if column.reference == "none" else {"img": result, "img2": truth}
            return float(function(**images, crop_border=border, **column.options))

        return measure

    import skimage.metrics

    function = getattr(skimage.metrics, column.metric)
    inner = slice(border, -border or None)
    return lambda result, truth: float(function(truth[inner, inner], result[inner, inner], **column.options))


def basicsr_function(metric: str) -> Callable[..., float]:
    """Return a metric of BasicSR by name, PSNR and SSIM without it, too; errors as of `host_function`."""
    if not has_basicsr():
        if metric not in PLAIN:
            raise UserError(f"{metric} is BasicSR's: {NEEDS_BASICSR}")
        return PLAIN[metric]
    import basicsr.metrics

    return getattr(basicsr.metrics, metric)


def scaled_to_mean(result: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Scale a result to the mean brightness of its ground truth, "GT-mean": clip(x * mean(grey(y)) / mean(grey(x))).

    As HVI-CIDNet's measure.py (`--use_GT_mean`) does: one factor per image, over the whole image; grey is OpenCV's of 8
    bit (0.299 R + 0.587 G + 0.114 B, rounded); the product is clipped to [0, 255] and not rounded.

    Args:
        result: [H, W, 3] BGR uint8.
        truth: the same shape and type.

    Raises:
        UserError: the result is black.
    """
    grey, wanted = (cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean() for image in (result, truth))
    if grey == 0:
        raise UserError("a black image has no scale to its ground truth's mean")
    return np.clip(result * (wanted / grey), 0, 255)


def batch_function(column: Column, protocol: Protocol, device: torch.device) -> BatchFunction:
    """Return the function of a pyiqa column: lists of images of one size, [H, W, 3] BGR, to a number for each.

    Raises:
        UserError: its weights are missing; names the files and their place.
    """
    from vqcnir_arch.metrics.pyiqa_metric import create_metric

    is_float = protocol.pixels == PIXELS_FLOAT
    # a float output may lie outside [0, 1], which pyiqa refuses otherwise
    model = create_metric(column.metric, device=device, check_input_range=not is_float)

    def tensor(images: Sequence[np.ndarray]) -> torch.Tensor:
        stacked = np.stack(images)
        ordered = stacked if column.channels == "BGR" else stacked[..., ::-1]
        border = protocol.crop_border
        inner = ordered[:, border : -border or None, border : -border or None]
        batch = torch.from_numpy(np.ascontiguousarray(inner.transpose(0, 3, 1, 2))).to(device).float()
        return batch if is_float else batch / 255

    def measure(results: Sequence[np.ndarray], truths: Sequence[np.ndarray] | None) -> list[float]:
        pair = [tensor(results)] if column.reference == "none" else [tensor(results), tensor(truths)]
        with torch.inference_mode():
            values = model(*pair, **column.options)
        return values.double().flatten().tolist()

    return measure


def set_distance(column: Column, results: Path, reference: Path, device: torch.device, batch: int) -> float:
    """Return pyiqa's distance between the two folders of images (FID).

    Raises:
        UserError: its weights are missing; names the file and its place.
    """
    from vqcnir_arch.metrics.pyiqa_metric import create_metric

    model = create_metric(column.metric, device=device)
    value = model(str(results), str(reference), num_workers=0, batch_size=batch, verbose=False)
    return float(value)


def too_small(column: Column, image: np.ndarray) -> str | None:
    """Say what a metric needs that an image, [H, W, 3], is too small for; None where it is not, or nothing is known."""
    number, side = LEAST.get(column.metric, (0, 1))
    if (image.shape[0] // side) * (image.shape[1] // side) >= number:
        return None
    return f"too small: the metric needs {'two squares of ' if number == 2 else ''}{side} x {side} pixels"
