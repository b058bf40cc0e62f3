"""Devices: which one, in which precision a network runs on it, and the time and memory that this process takes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import psutil
import torch
from torch import nn

from vqcnir_arch import names
from vqcnir_arch.errors import UserError

CPU = torch.device("cpu")
DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = {name: DTYPES[name.removesuffix("-all")] for name in names.PRECISIONS}


@runtime_checkable
class ChoosesCodes(Protocol):
    """A network that says which of its parts decide the codes."""

    def float32_modules(self) -> list[nn.Module]: ...


def choose_device(name: str = "auto") -> torch.device:
    """Return a device by name; `auto` is the GPU where there is one, of several that of this process.

    torchrun and SLURM number the processes of a machine.

    Raises:
        UserError: there is no such device.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return CPU
        local = os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or "0"
        return torch.device("cuda", int(local) % torch.cuda.device_count() if local.isdecimal() else 0)
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device '{name}' cannot be used: {str(error).splitlines()[0]}") from error
    return device


@contextmanager
def precision_of(net: nn.Module, precision: str) -> Iterator[None]:
    """Run a network's forward passes in one of `PRECISIONS`, by autocast."""
    dtype = PRECISIONS[precision]
    if dtype is None:
        yield
        return
    device = next(net.parameters()).device.type
    keeps = not precision.endswith("-all") and isinstance(net, ChoosesCodes)
    exact = net.float32_modules() if keeps else []
    try:
        for module in exact:
            module.forward = without_autocast(module.forward, device)
        with torch.autocast(device, dtype=dtype):
            yield
    finally:
        for module in exact:
            del module.forward  # the class's again


def without_autocast(forward: Callable[..., Any], device: str) -> Callable[..., Any]:
    """Return the function with autocast switched off inside."""

    def run(*arguments: Any) -> Any:
        with torch.autocast(device, enabled=False):
            return forward(*arguments)

    return run


def seconds(work: Callable[[], object], device: torch.device = CPU) -> float:
    """Return how long one call takes on a device, work that was started before aside."""
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
