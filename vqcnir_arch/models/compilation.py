"""torch.compile for networks that train."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ClassVar

import torch
from torch import nn

from vqcnir_arch.errors import UserError


class Compilation:
    """What `train: compile` says.

    Args:
        enabled: without, nothing here does anything.
    """

    backend: ClassVar[str] = "inductor"

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled

    def compile(self, net: nn.Module) -> None:
        """Compile a network in place: the names of its tensors stay as they are."""
        if self.enabled:
            net.compile(backend=self.backend)

    def paused(self) -> AbstractContextManager:
        """Let networks run as they are: images of many sizes would be compiled one after the other."""
        return torch.compiler.set_stance("force_eager") if self.enabled else nullcontext()

    @contextmanager
    def one_line_errors(self) -> Iterator[None]:
        """Turn an error of the compiler, which runs at the first use of the network, into one line."""
        try:
            yield
        except RuntimeError as error:
            if self.enabled and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                reason = " ".join(lines[:2]) or type(error).__name__  # which backend, and what it said
                raise UserError(
                    f"train: compile: torch.compile failed on this machine ({reason}): leave it off"
                ) from error
            raise
