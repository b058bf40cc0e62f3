"""The node: a batch of images through one of our networks, each whole or in strips, never in tiles."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import comfy.model_management as management
import comfy.utils
import folder_paths
import torch
import torch.nn.functional as F
from torch import Tensor

from vqcnir_arch.archs.loading import load_restorer
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError
from vqcnir_arch.memory import is_out_of_memory
from vqcnir_arch.names import PRECISIONS
from vqcnir_arch.packaged import NAMES
from vqcnir_arch.restoration.inference import blended, restore_tensor
from vqcnir_arch.restoration.strips.network import parts
from vqcnir_arch.restoration.tiling import Way, restore_within, used_memory, way, whole_bytes

FOLDER = "upscale_models"
MEMORY_SHARE = 0.8
"""Of the memory that is free, on a CPU; beyond it images go in strips."""
logger = logging.getLogger(__name__)


class RestoreNightPhoto:
    """Restores photographs that are dark and blurred at once.

    The network sees the whole image: its norms and its illumination curve are global, and tiles, as ComfyUI's own node
    for upscale models takes, would each become differently bright.
    """

    CATEGORY = "image/restoration"
    DESCRIPTION = "Restores night photographs that are dark and blurred at once. Never tiles."
    FUNCTION = "restore"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, tuple]]:
        models = [*NAMES, *folder_paths.get_filename_list(FOLDER)]
        return {
            "required": {
                "image": ("IMAGE",),
                "model": (models, {"tooltip": f"the network that comes with it, or a file of models/{FOLDER}"}),
                "strength": (
                    "FLOAT",
                    {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05, "tooltip": "0: the input, 1: the result"},
                ),
                "precision": (
                    list(PRECISIONS),
                    {"tooltip": "without -all, what decides the codes stays float32; strips are always float32"},
                ),
                "device": (["auto", "cpu"], {"tooltip": "cpu: any size, in strips where memory is short"}),
            }
        }

    @torch.inference_mode()
    def restore(self, image: Tensor, model: str, strength: float, precision: str, device: str) -> tuple[Tensor]:
        """Restore a batch.

        Args:
            image: [B, H, W, 3 or 4], RGB in [0, 1]; a fourth channel, transparency, is kept.
            model: a packaged network or a file of models/upscale_models.
            strength: 0 gives the input, 1 the result, linear between.
            precision: one of `PRECISIONS`.
            device: `auto`, ComfyUI's; or `cpu`.

        Raises:
            UserError: the file is none of our networks, the images do not fit it, or memory is short.
        """
        if image.shape[-1] not in (3, 4):
            raise UserError(f"expected an RGB or RGBA image, got {image.shape[-1]} channels")
        net = network(model)
        steps = parts(net) or 1
        place = management.get_torch_device() if device == "auto" else torch.device("cpu")
        photos, alpha = image.movedim(-1, 1).split([3, image.shape[-1] - 3], dim=1)
        management.free_memory(weight_bytes(net) + whole_bytes(net, photos[:1]), place)
        limit = used_memory() + MEMORY_SHARE * management.get_free_memory(place) if place.type == "cpu" else None
        chosen = way(net, photos[:1], limit)
        if chosen is Way.TOO_LARGE:
            raise no_memory(photos, place)
        bar = comfy.utils.ProgressBar(len(photos) * steps)

        def one(photo: Tensor) -> Tensor:
            if chosen is Way.STRIPS:
                result = restore_within(net, photo, limit, announce=logger.info, progress=lambda: advance(bar, 1)).image
                return blended(photo, result.clamp(0, 1), strength)
            result = restore_tensor(net, photo, precision, strength)
            advance(bar, steps)
            return result

        try:
            with interruptible(net.to(place)):
                results = [one(photo.to(place)).to(management.intermediate_device()) for photo in photos.split(1)]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise no_memory(photos, place) from None
        finally:
            net.to("cpu")
            management.soft_empty_cache()
        restored = torch.cat(results)
        if alpha.shape[1]:
            alpha = F.interpolate(alpha, size=restored.shape[-2:], mode="bilinear", align_corners=False)
            restored = torch.cat([restored, alpha.to(restored.device)], dim=1)
        return (restored.movedim(1, -1).to(image.dtype),)


def network(model: str) -> VQNetwork:
    """Return a packaged network, or that of a file of models/upscale_models, in eval mode on the CPU."""
    if model in NAMES:
        return loaded(model, 0)
    path = folder_paths.get_full_path(FOLDER, model)
    if path is None:
        raise UserError(f"model '{model}' is not in models/{FOLDER}")
    return loaded(path, Path(path).stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def loaded(path: str, changed: int) -> VQNetwork:
    """Load a network; the last one stays, as long as its file is the same."""
    return load_restorer(path)


@contextmanager
def interruptible(net: VQNetwork) -> Iterator[None]:
    """Let ComfyUI's cancel button end a forward pass between two of its layers."""

    def check(*_: Any) -> None:
        management.throw_exception_if_processing_interrupted()

    hooks = [module.register_forward_pre_hook(check) for module in net.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def advance(bar: comfy.utils.ProgressBar, steps: int) -> None:
    """Move the progress bar, unless the user has cancelled."""
    management.throw_exception_if_processing_interrupted()
    bar.update(steps)


def weight_bytes(net: VQNetwork) -> int:
    """Return the bytes of a network's parameters."""
    return sum(p.numel() * p.element_size() for p in net.parameters())


def no_memory(photos: Tensor, place: torch.device) -> UserError:
    """Return what says that images do not go through a network for want of memory, and what to do."""
    size = f"{photos.shape[-1]} x {photos.shape[-2]}"
    advice = "scale the image down" if place.type == "cpu" else "choose the device 'cpu', or scale the image down"
    return UserError(f"an image of {size} pixels needs more memory than there is on '{place}': {advice}")
