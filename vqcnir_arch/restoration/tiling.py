"""When a photograph is restored in strips, and with how much memory and disk."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import psutil
from torch import Tensor

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.archs.vqcnir_arch import VQCNIR
from vqcnir_arch.errors import UserError
from vqcnir_arch.memory import give_back_freed_memory, is_out_of_memory, keep_no_more
from vqcnir_arch.restoration.output_check import check_restored
from vqcnir_arch.restoration.strips.network import StripResult, check_supported, restore_in_strips, strip_support
from vqcnir_arch.restoration.strips.store import BYTES, Scratch, free_space

GB = 10**9
WHOLE_IMAGE_MAPS, WITHOUT_FINEST_FUSION = 36, 14
"""A forward pass of the whole image holds at most so many maps of the finest level's channels. Measured with the
default network: 29 at 256 x 256, 32 at 512 x 384 (scripts/restore_memory.py); with VQCNIR-S, where D alone works at
that level: 11 at 1000 x 1000."""
REHEARSAL = 64
"""Height and width of the image that shows how much disk a larger one takes."""
MEMORY_SHARE, STRIP_SHARE = 0.45, 0.2
"""Of the memory that is left: for feature maps, and for the rows that are worked on."""
ATTEMPTS = 5
"""How often memory may run out, with a quarter of it used each time, until an image is given up."""
LEAST = 0.3 * GB
"""With less than this beside the network and the image, strips would be too thin to be of use."""


class NoRoom(UserError):
    """An image is too large for the memory or the disk; a smaller one may go."""


def map_bytes(net: VQNetwork, image: Tensor) -> int:
    """Return the size of one feature map at the finest level, that of the result."""
    return net.options["channels"][0] * image.shape[-2] * image.shape[-1] * net.scale**2 * BYTES


def used_memory() -> int:
    """Return the resident memory of this process in bytes."""
    return psutil.Process().memory_info().rss


def memory_left(limit: float, wanted: float = math.inf) -> float:
    """Return how many bytes of a limit for the whole process are left.

    Where less than `wanted` is left, memory that was freed and kept (`keep_freed_memory`) is given back first.
    """
    if limit - used_memory() < wanted:
        give_back_freed_memory()
    return limit - used_memory()


def whole_bytes(net: VQNetwork, images: Tensor) -> int:
    """Return how many bytes of feature maps a batch of images takes at once, at most."""
    fuses_finest = not isinstance(net, VQCNIR) or net.uses_guide(net.decoder.levels[-1])
    maps = WHOLE_IMAGE_MAPS if fuses_finest else WITHOUT_FINEST_FUSION
    return images.shape[0] * maps * map_bytes(net, images)


def fits_whole(net: VQNetwork, images: Tensor, limit: float) -> bool:
    """Whether a batch of images goes through the network at once within `limit` bytes for the whole process."""
    needed = whole_bytes(net, images)
    return needed <= memory_left(limit, needed)


class Way(Enum):
    """How an image goes through a network."""

    WHOLE = "whole"
    STRIPS = "strips"
    TOO_LARGE = "too large"
    """It does not fit whole, and strips do not know the network."""


def way(net: VQNetwork, images: Tensor, limit: float | None, tile: int | str = "auto") -> Way:
    """Decide whether images go through a network whole or in strips.

    Args:
        net: a restoration network in eval mode.
        images: a batch of one size, [B, 3, H, W].
        limit: bytes that the process may hold; None: not limited, as on a GPU.
        tile: `auto`; `off`, always whole; or the rows of a strip, always strips.
    """
    if isinstance(tile, int):
        return Way.STRIPS
    if tile == "off" or limit is None or fits_whole(net, images, limit):
        return Way.WHOLE
    return Way.STRIPS if strip_support(net) is None else Way.TOO_LARGE


def scratch_bytes(net: VQNetwork, image: Tensor, scratch: Scratch) -> int:
    """Return the bytes of disk that `restore_in_strips` takes for an image.

    All feature maps grow with the number of pixels, so a rehearsal on a small image with as much less memory shows it.
    """
    small = image.new_zeros(1, 3, REHEARSAL, REHEARSAL)
    pixels, small_pixels = (net.padded(x.to("meta")).shape[-2:].numel() for x in (image, small))
    ratio = pixels / small_pixels
    rehearsal = Scratch(scratch.folder, int(scratch.memory / ratio), strip_memory=GB)
    return int(restore_in_strips(net, small, rehearsal).disk * ratio)


def restore_within(
    net: VQNetwork,
    image: Tensor,
    limit: float = 4 * GB,
    rows: int | None = None,
    folder: Path | None = None,
    announce: Callable[[str], object] = print,
    progress: Callable[[], object] = lambda: None,
) -> StripResult:
    """Restore one image of any size while the process stays below a limit of memory.

    The result is that of the whole image: statistics are global and there are no seams. Feature maps that do not fit
    go to scratch files without a name, which are gone afterwards, however the process ends. Where memory runs out below
    the limit, because other processes hold it, it starts again with a quarter.

    Args:
        net: a restoration network in eval mode on the CPU.
        image: [1, 3, H, W], RGB in [0, 1].
        limit: bytes that the whole process may hold, Python and weights included.
        rows: rows of the image that a strip has; default: as many as the limit allows.
        folder: where scratch files go; default: the system's folder for temporary files.
        announce: called with a line that says how much disk it takes, and with one each time that memory ran out.
        progress: as of `restore_in_strips`.

    Raises:
        NoRoom: the limit is too low, the disk too full, or memory out.
        UserError: strips do not know the network, or its result is no picture.
    """
    check_supported(net)
    folder = folder or Path(tempfile.gettempdir())
    images = 4 * image.numel() * BYTES  # the input, padded, and the result, cropped
    left = memory_left(limit) - images
    if left < LEAST:
        raise NoRoom(
            f"{image.shape[-1]} x {image.shape[-2]} pixels need a limit of at least "
            f"{(limit - left + LEAST) / GB:.1f} GB, got {limit / GB:.1f} GB"
        )
    for attempt in range(ATTEMPTS):
        part = 4**-attempt
        scratch = Scratch(
            folder,
            memory=int(part * MEMORY_SHARE * left),
            strip_memory=int(part * STRIP_SHARE * left),
            strip_share=rows and part * rows / image.shape[-2],
        )
        try:
            disk, free = scratch_bytes(net, image, scratch), free_space(folder)
            if disk > free:
                raise NoRoom(
                    f"strips need {disk / GB:.1f} GB of scratch files, folder '{folder}' has {free / GB:.1f} GB free"
                )
            files = f", with {disk / GB:.1f} GB of scratch files in '{folder}'" if disk else ""
            announce(f"restoring in strips{files}")
            result = restore_in_strips(net, image, scratch, progress=progress)
            check_restored(image, result.image)
            return result
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            keep_no_more()
            announce("memory ran out: once more with a quarter of it" if attempt < ATTEMPTS - 1 else "memory ran out")
    raise NoRoom(f"{image.shape[-1]} x {image.shape[-2]} pixels need more memory than there is")
