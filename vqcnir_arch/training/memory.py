"""What becomes of the memory that a training step on a CPU gives back."""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt, from malloc.h
LARGEST = 2**25
"""Larger tensors are still handed back; older glibcs take no more either."""


def keep_freed_memory() -> None:
    """Let this process keep freed memory for the next step, up to its peak (with glibc alone; no effect elsewhere).

    A step takes and frees the same tensors as the one before. Handed back to the system, their pages would be new each
    time, which the system fills with zeros first.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGEST)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
