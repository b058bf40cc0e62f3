"""Any metric of pyiqa as a BasicSR metric. pyiqa is heavy and non-commercial: it is imported on first use."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.registry import METRIC_REGISTRY, register
from vqcnir_arch.tensor_files import existing_file

WEIGHT_FILES = {
    "brisque": ["pyiqa/brisque_svm_weights.pth"],
    "dists": ["checkpoints/vgg16-397923af.pth", "pyiqa/DISTS_weights-f5e65c96.pth"],
    "fid": ["pyiqa/pt_inception-2015-12-05-6726825d.pth"],
    "lpips": ["checkpoints/alexnet-owt-7be5be79.pth", "pyiqa/LPIPS_v0.1_alex-df73285e.pth"],
    "lpips-vgg": ["checkpoints/vgg16-397923af.pth", "pyiqa/LPIPS_v0.1_vgg-a78928a0.pth"],
    "musiq": ["pyiqa/musiq_koniq_ckpt-e95806b9.pth"],
    "niqe": ["pyiqa/niqe_modelparameters.mat"],
    "nrqm": ["pyiqa/NRQM_model.mat"],
    "pi": ["pyiqa/NRQM_model.mat", "pyiqa/niqe_modelparameters.mat"],
}
"""Files below torch's hub folder that pyiqa loads; it fetches a missing one from its own site."""


def create_metric(metric: str, as_loss: bool = False, device: torch.device | str = "cpu", **options: Any) -> nn.Module:
    """Build a pyiqa metric without touching the random state of training.

    Raises:
        UserError: pyiqa has no such metric, or weights are missing and cannot be fetched; names file and place.
    """
    import pyiqa

    if metric not in pyiqa.list_models():
        raise UserError(f"pyiqa has no metric '{metric}'{nearest(metric, pyiqa.list_models())}")
    if "pretrained_model_path" in options:
        existing_file(options["pretrained_model_path"], f"metric '{metric}': pretrained_model_path")
    try:
        with torch.random.fork_rng():  # building draws random weights before it loads the real ones
            return pyiqa.create_metric(metric, as_loss=as_loss, device=torch.device(device), **options)
    except Exception as error:  # each metric has its own reader, and each reader its own errors
        hub = Path(torch.hub.get_dir())
        missing = [str(hub / file) for file in WEIGHT_FILES.get(metric, []) if not (hub / file).is_file()]
        if missing and isinstance(error, OSError):
            raise UserError(
                f"metric '{metric}' needs {' and '.join(missing)}, which could not be fetched: put it there "
                "(https://huggingface.co/chaofengc/IQA-PyTorch-Weights, torchvision's site for checkpoints/)"
            ) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"metric '{metric}' cannot be built by pyiqa: {reason}") from error


@lru_cache(maxsize=16)
def _cached_metric(metric: str, device: str, options: tuple[tuple[str, Any], ...]) -> nn.Module:
    return create_metric(metric, device=device, **dict(options))


def device() -> str:
    """Return where metrics are computed."""
    return f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"


def built_metric(metric: str, better: str | None = None, **options: Any) -> nn.Module:
    """Return a pyiqa metric, built once per process; arguments and errors as of `calculate_pyiqa`."""
    model = _cached_metric(metric, device(), tuple(sorted(options.items())))
    if better is not None and better != ("lower" if model.lower_better else "higher"):
        raise UserError(f"metric '{metric}': 'better: {better}' is wrong, the opposite is better")
    return model


def to_tensor(image: np.ndarray, crop_border: int, device: str) -> torch.Tensor:
    """Turn BasicSR's BGR (or grey) uint8 HWC image into RGB float32 NCHW in [0, 1] without its border."""
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if crop_border:
        image = image[crop_border:-crop_border, crop_border:-crop_border]
    rgb = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))
    return torch.from_numpy(rgb).to(device).float().div(255).unsqueeze(0)


@register(METRIC_REGISTRY)
def calculate_pyiqa(
    img: np.ndarray,
    img2: np.ndarray | None = None,
    *,
    metric: str,
    crop_border: int = 0,
    better: str | None = None,
    **options: Any,
) -> float:
    """Measure one image with any pyiqa metric.

    In an option file: `musiq: {type: calculate_pyiqa, metric: musiq, better: higher}`.

    Args:
        img: restored image, HWC, BGR, uint8 (BasicSR's convention).
        img2: its ground truth, for full-reference metrics.
        metric: pyiqa's name.
        crop_border: pixels to leave out on every side.
        better: BasicSR's key; checked against the direction of the metric.
        **options: handed to `pyiqa.create_metric`, e.g. `pretrained_model_path`.

    Raises:
        UserError: unknown metric, missing weights, missing ground truth, or a wrong `better`.
    """
    model = built_metric(metric, better, **options)
    images = [to_tensor(img, crop_border, device())]
    if model.metric_mode == "FR":
        if img2 is None:
            raise UserError(f"metric '{metric}' compares with a ground truth, but this data set has none")
        images.append(to_tensor(img2, crop_border, device()))
    with torch.no_grad():
        return float(model(*images).item())


def needs_ground_truth(block: dict[str, Any]) -> bool:
    """Whether the metric of a block in `val: metrics` compares with a ground truth."""
    if block["type"] == calculate_pyiqa.__name__:
        rest = {key: value for key, value in block.items() if key not in ("type", "crop_border")}
        return built_metric(**rest).metric_mode == "FR"
    return block["type"] in ("calculate_psnr", "calculate_ssim")
