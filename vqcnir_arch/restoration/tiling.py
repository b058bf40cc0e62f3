"""When a photograph is restored in strips, and with how much memory and disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
from torch import Tensor

from vqcnir_arch.archs.vqcnir_arch import VQCNIR
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.strips.network import StripResult, check_supported, restore_in_strips
from vqcnir_arch.restoration.strips.store import BYTES, Scratch

GB = 10**9
WHOLE_IMAGE_MAPS = 60
"""A forward pass of the whole image holds at most about so many maps of the finest level's channels (measured)."""
SCRATCH_MAPS = 6
"""Strips hold at most so many maps of the finest level's channels at a time, with what the coarser levels have."""
LEAST = 0.3 * GB
"""With less than this beside the network and the image, strips would be too thin to be of use."""


def map_bytes(net: VQCNIR, image: Tensor) -> int:
    """Return the size of one feature map at the finest level."""
    return net.options["channels"][0] * image.shape[-2] * image.shape[-1] * BYTES


def used_memory() -> int:
    """Return the resident memory of this process in bytes."""
    return psutil.Process().memory_info().rss


def fits_whole(net: VQCNIR, image: Tensor, limit: float) -> bool:
    """Whether a batch of images goes through the network at once within `limit` bytes for the whole process."""
    return used_memory() + image.shape[0] * WHOLE_IMAGE_MAPS * map_bytes(net, image) <= limit


def restore_within(
    net: VQCNIR,
    image: Tensor,
    limit: float = 4 * GB,
    rows: int | None = None,
    folder: Path | None = None,
    announce: Callable[[str], object] = print,
    progress: Callable[[], object] = lambda: None,
) -> StripResult:
    """Restore one image of any size while the process stays below a limit of memory.

    The result is that of the whole image: statistics are global and there are no seams. Feature maps that do not fit
    go to scratch files without a name, which are gone afterwards, however the process ends.

    Args:
        net: a VQCNIR in eval mode on the CPU.
        image: [1, 3, H, W], RGB in [0, 1].
        limit: bytes that the whole process may hold, Python and weights included.
        rows: rows of the image that a strip has; default: as many as the limit allows.
        folder: where scratch files go; default: the system's folder for temporary files.
        announce: called with one line that says how much disk it takes.
        progress: as of `restore_in_strips`.

    Raises:
        UserError: the limit is too low, the disk too full, or the network has parts that strips cannot compute.
    """
    check_supported(net)
    folder = folder or Path(tempfile.gettempdir())
    images = 4 * image.numel() * BYTES  # the input, padded, and the result, cropped
    left = limit - used_memory() - images
    if left < LEAST:
        raise UserError(
            f"{image.shape[-1]} x {image.shape[-2]} pixels need a limit of at least "
            f"{(limit - left + LEAST) / GB:.1f} GB, got {limit / GB:.1f} GB"
        )
    scratch = Scratch(
        folder, memory=int(0.3 * left), strip_memory=int(0.35 * left), strip_share=rows and rows / image.shape[-2]
    )
    disk = SCRATCH_MAPS * map_bytes(net, image) - scratch.memory
    if disk > 0:
        announce(f"restoring in strips with up to {disk / GB:.1f} GB of scratch files in '{folder}'")
    return restore_in_strips(net, image, scratch, progress=progress)
