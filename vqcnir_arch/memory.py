"""What becomes of memory that the process gives back."""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt, from malloc.h
LARGEST = (2**30, 2**25)
"""Up to so many bytes a tensor's memory is kept: the first that the C library takes (older ones take no more)."""


def keep_freed_memory() -> None:
    """Let this process keep freed memory for what comes next, up to its peak (with glibc alone; no effect elsewhere).

    A network takes and frees tensors of the same sizes again and again. Handed back to the system, their pages would be
    new each time, and the system fills new pages with zeros first: up to 40 % of the time of restoring a photograph.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and any(mallopt(MMAP_THRESHOLD, size) for size in LARGEST):
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
