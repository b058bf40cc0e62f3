"""Mixed precision: forward passes in bfloat16 or float16, and float16's loss scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

AMP_DTYPES = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """What `train: amp` says; with `none` everything passes through as it is.

    What the loss scale makes overflow is a skipped step, after which the scale is smaller.

    Args:
        amp: a name of `AMP_DTYPES`.
        device: where the networks are.
    """

    first_scale: ClassVar[float] = 2.0**16
    """Of float16's loss; torch's default."""

    def __init__(self, amp: str, device: torch.device) -> None:
        self.dtype = AMP_DTYPES[amp]
        self.device = device
        self.scaler = GradScaler(device.type, self.first_scale, enabled=amp == "fp16")

    def autocast(self) -> AbstractContextManager:
        """Run forward passes in this precision; the code search keeps itself out of it."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None)

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients, scaled up in float16."""
        self.scaler.scale(loss).backward()

    def step(self, optimizers: Sequence[Optimizer], may_step: Callable[[], bool]) -> bool:
        """Step all optimisers or none; `may_step` is asked when their gradients are unscaled. Return what it said."""
        for optimizer in optimizers:
            self.scaler.unscale_(optimizer)
        may = may_step()
        if may:
            for optimizer in optimizers:
                optimizer.step()
        if optimizers:
            self.scaler.update()
        return may

    def state(self) -> dict[str, Any]:
        """Return the scale, for the training state; without float16 it is empty."""
        return self.scaler.state_dict()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo `state`; an empty one is of a run without float16."""
        if state:
            self.scaler.load_state_dict(dict(state))
