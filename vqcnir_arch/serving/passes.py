"""One photograph through a network: whole or in strips, stopped when its time is over, telling how far it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError
from vqcnir_arch.memory import is_out_of_memory
from vqcnir_arch.restoration.inference import restore_tensor
from vqcnir_arch.restoration.strips.network import parts
from vqcnir_arch.restoration.tiling import NoRoom, Way, restore_within, way

logger = logging.getLogger("vqcnir")

COUNTED = 64
"""Height and width of the image that shows how many layers a pass has."""

Progress = Callable[[float, str], object]
"""Called with the share that is done, from 0 to 1, and what is going on."""


@contextmanager
def before_each_layer(net: nn.Module, call: Callable[[], object]) -> Iterator[None]:
    """Have a network call a function before each of its modules."""
    hooks = [module.register_forward_pre_hook(lambda *_: call()) for module in net.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def stopped_after(seconds: float, net: VQNetwork) -> Iterator[None]:
    """Stop a network with `UserError` between two of its layers once `seconds` are over."""
    end = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > end:
            raise UserError(f"stopped after {seconds:g} s, the most that one photo may take: try a smaller one")

    with before_each_layer(net, check):
        yield


def pass_within(net: VQNetwork, image: Tensor, memory: float | None, folder: Path, progress: Progress) -> Tensor:
    """Restore an image; in strips where the memory asks for it, with the same result.

    Args:
        net: a restoration network in eval mode.
        image: [1, 3, H, W], RGB in [0, 1], on the CPU.
        memory: bytes that this process may hold; None: not limited, as on a GPU.
        folder: for feature maps that do not fit.
        progress: told after each layer, or each part of a pass in strips.

    Returns:
        [1, 3, H, W], times the network's scale, in [0, 1].

    Raises:
        NoRoom: the image is too large.
        UserError: the network does not take it.
    """
    said = f"restoring {image.shape[3]} x {image.shape[2]}"
    too_large = NoRoom(f"{image.shape[3]} x {image.shape[2]} pixels need more memory than there is")
    chosen = way(net, image, memory)
    if chosen is Way.TOO_LARGE:
        raise too_large
    if chosen is Way.WHOLE:
        try:
            with before_each_layer(net, steps(layer_calls(net), said, progress)):
                return restore_tensor(net, image)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise too_large from error
            raise
    step = steps(parts(net), said, progress)
    return restore_within(net, image, memory, folder=folder, announce=logger.info, progress=step).image.clamp(0, 1)


def layer_calls(net: VQNetwork) -> int:
    """Return how many modules a forward pass calls, by one on a small image."""
    count = 0

    def counted() -> None:
        nonlocal count
        count += 1

    side = net.fixed_size or COUNTED
    with before_each_layer(net, counted):
        restore_tensor(net, torch.zeros(1, 3, side, side))
    return count


def steps(total: int, said: str, progress: Progress) -> Callable[[], None]:
    """Return what tells `progress`, at each call, that one more of `total` steps is done."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(min(done / total, 1), said)

    return step
