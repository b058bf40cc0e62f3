"""A network on arrays and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.devices import PRECISIONS, precision_of
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.restoration.output_check import check_restored


@torch.inference_mode()
def restore_tensor(net: VQNetwork, images: Tensor, precision: str = "fp32", strength: float = 1) -> Tensor:
    """Restore images.

    Args:
        net: a restoration network in eval mode.
        images: [B, 3, H, W] or [3, H, W], RGB in [0, 1], on any device.
        precision: `fp32`; `bf16` or `fp16`, with what decides the codes in float32; `bf16-all` or `fp16-all`, where the
            code search alone stays in float32.
        strength: as of `blended`.

    Returns:
        The restored images, clamped to [0, 1], float32, on the device of `images`, of the same rank.

    Raises:
        UserError: wrong shape or values, an unknown precision, a strength outside [0, 1], or a result that is no
            picture (`check_restored`).
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision '{precision}' is unknown{nearest(precision, PRECISIONS)}")
    check_strength(strength)
    if images.dim() not in (3, 4) or images.shape[-3] != 3:
        raise UserError(f"expected images as [B, 3, H, W] or [3, H, W], got {list(images.shape)}")
    if not torch.isfinite(images).all():
        raise UserError("the image holds NaN or infinite values")
    parameter = next(net.parameters())
    batch = images.reshape(-1, *images.shape[-3:]).to(parameter.device, parameter.dtype)
    with precision_of(net, precision):
        restored = net(batch)
    check_restored(batch, restored, precision)
    restored = blended(batch, restored.float().clamp(0, 1), strength)
    return restored.reshape(*images.shape[:-3], *restored.shape[-3:]).to(images.device)


def check_strength(strength: float) -> None:
    """Raise `UserError` unless a strength is from 0 to 1."""
    if not 0 <= strength <= 1:
        raise UserError(f"strength: expected a number from 0 to 1, got {strength:g}")


def blended(images: Tensor, restored: Tensor, strength: float) -> Tensor:
    """Blend results with their inputs, both in [0, 1]: 0 gives the input, 1 the result, linearly between them.

    Args:
        images: [B, 3, H, W].
        restored: [B, 3, H·s, W·s]; where s is not 1, the input is enlarged bicubically.
        strength: from 0 to 1.
    """
    if strength == 1:
        return restored
    if images.shape != restored.shape:
        images = F.interpolate(images, size=restored.shape[-2:], mode="bicubic", align_corners=False).clamp(0, 1)
    return torch.lerp(images.to(restored.dtype), restored, strength)


@overload
def restore(net: VQNetwork, images: np.ndarray, precision: str = "fp32", strength: float = 1) -> np.ndarray: ...


@overload
def restore(net: VQNetwork, images: Tensor, precision: str = "fp32", strength: float = 1) -> Tensor: ...


@overload
def restore(
    net: VQNetwork, images: Sequence[np.ndarray], precision: str = "fp32", strength: float = 1
) -> list[np.ndarray]: ...


def restore(
    net: VQNetwork,
    images: np.ndarray | Sequence[np.ndarray] | Tensor,
    precision: str = "fp32",
    strength: float = 1,
) -> np.ndarray | Tensor | list[np.ndarray]:
    """Restore an image or several, in the kind that they came in.

    Args:
        net: a restoration network, e.g. from `vqcnir_arch.load_network`.
        images: a tensor as of `restore_tensor`; an array [H, W, 3], RGB, uint8, uint16 or float in [0, 1]; or a list of
            such arrays.
        precision: as of `restore_tensor`.
        strength: 1 gives what the network gives, 0 the input (enlarged where the network enlarges), linear between.

    Returns:
        The same kind, shape (times `net.scale`) and dtype.

    Raises:
        UserError: wrong shape, dtype, values or strength.
    """
    if isinstance(images, Tensor):
        return restore_tensor(net, images, precision, strength)
    if not isinstance(images, np.ndarray):
        return [restore(net, image, precision, strength) for image in images]
    if images.ndim != 3 or images.shape[2] != 3:
        raise UserError(f"expected an array [H, W, 3], got {list(images.shape)}")
    is_integer = images.dtype in (np.uint8, np.uint16)
    if not is_integer and not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"expected uint8, uint16 or floats in [0, 1], got {images.dtype}")
    top = np.iinfo(images.dtype).max if is_integer else 1
    tensor = torch.from_numpy(images.astype(np.float32) / top).permute(2, 0, 1)
    restored = restore_tensor(net, tensor, precision, strength).permute(1, 2, 0).numpy() * top
    return (np.round(restored) if is_integer else restored).astype(images.dtype)
