"""Time and memory of this process, measured in one way by commands and scripts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

CPU = torch.device("cpu")


def seconds(work: Callable[[], object], device: torch.device = CPU) -> float:
    """Return how long one call takes on a device, work that was begun before aside."""
    synchronize(device)
    began = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - began


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device = CPU) -> int:
    """Return the most bytes that this process has held: resident memory on a CPU, torch's allocations on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():  # unlike getrusage's, not that of the process that started this one
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # POSIX's alone

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
