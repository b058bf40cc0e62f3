"""How long a network will take, from passes on a small image; with attention the time grows with the pixels' square."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.archs.quantizers.attention import SinCAAttention
from vqcnir_arch.archs.quantizers.transformer import FeatureTransformer
from vqcnir_arch.devices import seconds

PROBE = 128
"""Height and width of the image that is timed."""


def sees_features(module: nn.Module) -> bool:
    """Whether a module is an attention in which features attend to each other."""
    return isinstance(module, SinCAAttention) and module.sees_features


def attention_over_features(net: nn.Module) -> list[FeatureTransformer]:
    """Return a network's transformers whose features attend to each other."""
    transformers = [module for module in net.modules() if isinstance(module, FeatureTransformer)]
    return [each for each in transformers if any(map(sees_features, each.modules()))]


def quadratic(count: int, first: float, second: float) -> tuple[float, float]:
    """Return a and b of a·N + b·N², which takes `first` seconds for N = `count` and `second` for N = 4·`count`."""
    b = max(0.0, (second - 4 * first) / (12 * count**2))
    return first / count - b * count, b


class PassTime(NamedTuple):
    """The seconds of a forward pass: `linear` for each pixel and `square` for each pixel squared."""

    linear: float
    square: float

    def seconds(self, pixels: float) -> float:
        """Return how long so many pixels take."""
        return self.linear * pixels + self.square * pixels**2

    def pixels(self, seconds: float) -> float:
        """Return how many pixels take so long."""
        return 2 * seconds / (self.linear + math.sqrt(self.linear**2 + 4 * self.square * seconds))


@torch.inference_mode()
def pass_time(net: VQNetwork) -> PassTime:
    """Measure a network that takes images of any size, in eval mode, on a small image.

    Everything grows with the number of pixels but attention among features, which grows with its square.
    """
    device = next(net.parameters()).device
    given: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    hooks = [
        each.register_forward_pre_hook(lambda module, inputs: given.update({module: inputs}))
        for each in attention_over_features(net)
    ]
    image = torch.rand(1, 3, PROBE, PROBE, device=device)
    try:
        net(image)
        rest = seconds(lambda: net(image), device)
    finally:
        for hook in hooks:
            hook.remove()
    attention = square = 0.0
    for transformer, (features, codebook) in given.items():
        small = seconds(partial(transformer, features, codebook), device)
        large = seconds(partial(transformer, features.repeat(1, 1, 2, 2), codebook), device)
        count = features.shape[-2] * features.shape[-1]
        a, b = quadratic(count, small, large)
        attention += a * count
        square += b * count**2
        rest -= small
    return PassTime((max(0.0, rest) + attention) / PROBE**2, square / PROBE**4)


def estimated_seconds(net: VQNetwork, height: int, width: int) -> float | None:
    """Estimate the time of a forward pass where features attend to each other, from passes on a small image.

    Args:
        net: a restoration network in eval mode.
        height, width: of the image, in pixels.

    Returns:
        Seconds; None where no features attend to each other, or the network takes one size alone.
    """
    if not attention_over_features(net) or net.fixed_size is not None:
        return None
    return pass_time(net).seconds(height * width)


def announcement(net: VQNetwork, height: int, width: int) -> str | None:
    """Return a line on the time that an image will take; None where it grows with the pixels alone, or is small."""
    if net.fixed_size is not None or height * width <= (2 * PROBE) ** 2:
        return None
    expected = estimated_seconds(net, height, width)
    if expected is None:
        return None
    megapixels = height * width / 1e6
    return (
        f"features attend to each other, time grows with the square of the pixels: about {expected / megapixels:.3g} s "
        f"per megapixel for {width} x {height}, {expected:.3g} s in all"
    )
