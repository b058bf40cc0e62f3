"""What becomes of memory that the process gives back, and how errors say that there is none."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt, from malloc.h
LARGEST = (2**30, 2**25)
"""Up to so many bytes a tensor's memory is kept: the first that the C library takes (older ones take no more)."""
DEFAULT = 2**17
"""Of both thresholds, in bytes."""
NO_MEMORY = ("can't allocate memory", "bad_alloc", "could not create a primitive", "could not create a memory")
"""What torch's allocator, C++ and oneDNN say when memory is out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short; torch has no class of its own for it on a CPU."""
    import torch  # not above: a command imports this module before it knows whether it needs torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in NO_MEMORY)


def keep_freed_memory() -> None:
    """Let this process keep freed memory for what comes next, up to its peak (with glibc alone; no effect elsewhere).

    A network takes and frees tensors of the same sizes again and again. Handed back to the system, their pages would be
    new each time, and the system fills new pages with zeros first: a fifth of vqcnir-s's time for a megapixel.
    """
    mallopt = from_the_c_library("mallopt")
    if mallopt is not None and any(mallopt(MMAP_THRESHOLD, size) for size in LARGEST):
        mallopt(TRIM_THRESHOLD, 2**31 - 1)


def keep_no_more() -> None:
    """Give back what was kept, and from now on everything at once: where memory has run out."""
    mallopt = from_the_c_library("mallopt")
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, DEFAULT)
        mallopt(TRIM_THRESHOLD, DEFAULT)
    give_back_freed_memory()


def give_back_freed_memory() -> None:
    """Hand freed memory that was kept back to the system (with glibc alone; no effect elsewhere)."""
    malloc_trim = from_the_c_library("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def from_the_c_library(name: str) -> Callable[..., int] | None:
    """Return a function of this process's C library; None where it has none of this name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
