"""What autocast must not touch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Return float16 and bfloat16 as float32, for what autocast must not touch; wider numbers as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Switch autocast off on a tensor's device.

    Where it is off already nothing is done, so that an exported graph has no trace of it: torch 2.6 cannot save one.
    """
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
