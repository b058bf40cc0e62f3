"""Networks on a device that is not there: torch's fake tensors have shapes, types and a device, and no values.

An operation that mixes devices or types fails on them as on the device itself. Fake tensors on `cuda` cannot be
differentiated without a driver (the autograd engine asks for a context), those on `meta` can: forward passes are tried
on `cuda`, whole training steps on `meta`. Kernels, numbers and memory only a GPU can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class FakeDevice:
    """A device of fake tensors.

    Args:
        name: `cuda` or `meta`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.mode = FakeTensorMode()

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return a fake tensor there."""
        with self.mode:
            return torch.empty(shape, dtype=dtype, device=self.name)

    def move(self, module: nn.Module) -> nn.Module:
        """Move what `Module.to` would move: a tensor that is neither parameter nor buffer is left behind."""
        for part in module.modules():
            for tensors in (part._parameters, part._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        fake = self.empty(*tensor.shape, dtype=tensor.dtype)
                        is_parameter = isinstance(tensor, nn.Parameter)
                        tensors[name] = nn.Parameter(fake, tensor.requires_grad) if is_parameter else fake
        return module

    @contextmanager
    def computing(self, precision: str = "fp32") -> Iterator[None]:
        """Compute with fake tensors, under autocast unless in `fp32`."""
        dtype = PRECISIONS[precision]
        with self.mode, torch.autocast("cuda", dtype, enabled=dtype is not None):
            yield


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Let autocast of `cuda` be switched on where there is none, and hold `meta` for a device without autocast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
        enabled = torch.is_autocast_enabled
        patch.setattr(torch, "is_autocast_enabled", lambda device="cuda": device != "meta" and enabled(device))
        yield
