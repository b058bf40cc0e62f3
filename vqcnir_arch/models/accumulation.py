"""Gradient accumulation: a batch in micro-batches, whose gradients add up to its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.spectral_norm import SpectralNorm

from vqcnir_arch.errors import UserError


class Accumulation:
    """Splits batches; what happens once per batch happens once.

    DDP exchanges gradients with the last micro-batch, spectral norm estimates its norms with the first.

    Args:
        count: micro-batches of a batch, `train: grad_accumulation`.
        memory_format: of the images.
        networks: those that train, wrapped by DDP or not.
    """

    def __init__(self, count: int, memory_format: torch.memory_format, networks: Sequence[nn.Module]) -> None:
        self.count = count
        self.memory_format = memory_format
        self.wrapped = [net for net in networks if isinstance(net, DistributedDataParallel)]
        self.normed = [layer for net in networks for layer in spectral_normed(net)] if count > 1 else []

    def split(self, *batch: Tensor | None) -> Iterator[tuple[Tensor | None, ...]]:
        """Yield the parts of a batch's tensors; forward and backward passes of a part run before the next is asked for.

        Args:
            *batch: tensors [B, C, H, W]; None has no parts.

        Raises:
            UserError: the batch cannot be split into equal parts.
        """
        size = len(batch[0])
        if size % self.count:
            raise UserError(f"train: grad_accumulation: a batch of {size} does not split into {self.count} parts")
        for i in range(self.count):
            for layer in self.normed:
                layer.training = i == 0
            with ExitStack() as stack:
                for net in self.wrapped if i < self.count - 1 else ():
                    stack.enter_context(net.no_sync())
                yield tuple(None if tensor is None else self._part(tensor, i) for tensor in batch)
        for layer in self.normed:
            layer.training = True

    def _part(self, tensor: Tensor, number: int) -> Tensor:
        return tensor.chunk(self.count)[number].to(memory_format=self.memory_format)

    def share(self, loss: Tensor) -> Tensor:
        """Return what a micro-batch's loss, a mean over it, adds to that of the batch."""
        return loss / self.count


def spectral_normed(net: nn.Module) -> list[nn.Module]:
    """Return the layers under spectral norm, which estimates their norm again in every forward pass in train mode."""
    return [m for m in net.modules() if any(isinstance(h, SpectralNorm) for h in m._forward_pre_hooks.values())]


def mean_of(parts: Sequence[Mapping[str, Tensor]]) -> OrderedDict[str, Tensor]:
    """Return the mean of each loss over micro-batches of equal size."""
    if len(parts) == 1:
        return OrderedDict(parts[0])
    return OrderedDict((name, torch.stack([part[name] for part in parts]).mean(0)) for name in parts[0])
