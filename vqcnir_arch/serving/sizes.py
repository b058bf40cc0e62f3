"""At which size a photograph goes through a network: its own, or the largest that its time allows."""

from __future__ import annotations

import math

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.restoration.attention_time import pass_time

TIME_SHARE = 0.5
"""Of the time that a photograph may take: what is reckoned with. Strips and other work on the machine take longer."""
ALWAYS = 256 * 256
"""Pixels that are not reckoned with: measuring would take longer."""

Size = tuple[int, int]
"""Height and width in pixels."""


def scaled(size: Size, pixels: float) -> Size:
    """Return a size of the same shape with at most so many pixels; one that has no more stays as it is."""
    height, width = size
    factor = math.sqrt(pixels / (height * width))
    return size if factor >= 1 else (max(1, int(height * factor)), max(1, int(width * factor)))


def size_in_time(net: VQNetwork, size: Size, seconds: float) -> Size:
    """Return the largest size at which a network restores a photograph in time, measured on a small image.

    Args:
        net: a restoration network in eval mode. One that takes a single size gets the photograph as it is.
        size: the photograph's.
        seconds: that it may take in the network.
    """
    if net.fixed_size is not None or size[0] * size[1] <= ALWAYS:
        return size
    return scaled(size, max(ALWAYS, pass_time(net).pixels(TIME_SHARE * seconds)))
