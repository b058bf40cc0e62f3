"""Activation checkpointing: big blocks keep their inputs alone, and compute the rest once more for the gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.checkpoint import checkpoint

from vqcnir_arch.archs.network import VQNetwork


def checkpoint_blocks(net: VQNetwork) -> None:
    """Checkpoint the big blocks of a network in place."""
    for block in net.checkpointed_modules():
        block.forward = checkpointed(block.forward)


def checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with a checkpoint around it, in a form that torch.compile understands."""

    def run(*arguments: Any) -> Any:
        return checkpoint(forward, *arguments, use_reentrant=False)

    return run
