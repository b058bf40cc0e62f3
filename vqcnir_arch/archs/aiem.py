"""Adaptive illumination enhancement module (VQCNIR section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs.cpu import add_product
from vqcnir_arch.archs.depthwise import DepthwiseConv2d, DilatedDepthwiseConv2d
from vqcnir_arch.archs.layers import LayerNorm2d
from vqcnir_arch.archs.precision import layer_of_product
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import ENHANCER_REGISTRY, register


def simple_gate(x: Tensor) -> Tensor:
    """Multiply the first half of the channels by the second: [B, 2C, H, W] to [B, C, H, W]."""
    first, second = x.chunk(2, dim=1)
    return first * second


class LargeKernelAttention(nn.Sequential):
    """Attention map from a 5×5 and a dilated 7×7 depth-wise convolution: [B, 2C, H, W] to [B, C, H, W]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.local = DepthwiseConv2d(in_channels, 5)
        self.dilated = DilatedDepthwiseConv2d(in_channels, 7, dilation=3)
        self.project = nn.Conv2d(in_channels, out_channels, 1)


class IMAConv(nn.Module):
    """Illumination mutual attention convolution: a learned curve per channel split (VQCNIR eq. 3-7).

    The maps A_1..A_n of a split come from all other splits (its complement) and are shared by its channels.

    Args:
        channels: channels of input and output.
        splits: S of eq. 3.
        curve_order: n of eq. 6, the number of curve iterations.
    """

    def __init__(self, channels: int, splits: int, curve_order: int) -> None:
        super().__init__()
        if splits < 2 or channels % splits:
            raise UserError(f"AIEM: splits must be at least 2 and divide {channels} channels, got {splits}")
        width = channels // splits
        self.curve = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels - width, width, 5, padding=2),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(width, curve_order, 1),
                nn.Sigmoid(),
            )
            for _ in range(splits)
        )
        self.conv = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(splits))

    def forward(self, x: Tensor) -> Tensor:
        return side_by_side(self.conv, self.brighten(x))

    def brighten(self, x: Tensor) -> Tensor:
        """Clamp features to [0, 1], where the curve keeps them (outside it would run away), and apply it."""
        splits = x.chunk(len(self.conv), dim=1)
        complements = [other for split in splits for other in splits if other is not split]
        maps = self.maps(torch.cat(complements, dim=1)).unflatten(1, (len(splits), 1, -1))
        y = x.clamp(0, 1).unflatten(1, (len(splits), -1))
        for a in maps.unbind(3):
            # eq. 6, y + a·y(1 − y); each map is used once (the printed index A_{n-1} is a slip)
            y = add_product(y, a, torch.addcmul(y, y, y, value=-1))
        return y.flatten(1, 2)

    def maps(self, complements: Tensor) -> Tensor:
        """Return A_1..A_n of all splits, [B, S·n, H, W], from the complements of all."""
        x = complements
        for layer, *others in zip(*self.curve, strict=True):
            x = side_by_side((layer, *others), x) if isinstance(layer, nn.Conv2d) else layer(x)
        return x


def side_by_side(convolutions: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Apply equal convolutions that keep the size, each to its own channels, as one with groups: many cost more."""
    convolutions = list(convolutions)
    weight, bias = (torch.cat([getattr(conv, name) for conv in convolutions]) for name in ("weight", "bias"))
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(convolutions))


@register(ENHANCER_REGISTRY)
class AIEM(nn.Module):
    """Adaptive illumination enhancement: hierarchical information extraction, then mutual attention enhancement.

    [B, C, H, W] to the same shape; a fresh block is the identity, as both residual scales start at zero.

    Args:
        channels: C.
        splits: channel splits of the mutual attention convolution.
        curve_order: number of curve iterations.
    """

    def __init__(self, channels: int, splits: int = 4, curve_order: int = 3) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(channels)
        self.expand1 = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.channel = nn.Conv2d(2 * channels, channels, 1)
        self.large_kernel = LargeKernelAttention(2 * channels, channels)
        self.project1 = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

        self.norm2 = LayerNorm2d(channels)
        self.expand2 = nn.Conv2d(channels, 2 * channels, 1)
        self.ima = IMAConv(channels, splits, curve_order)
        self.project2 = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        u = self.depthwise(self.expand1(self.norm1(x)))
        channel = self.channel(F.adaptive_avg_pool2d(u, 1))
        attended = layer_of_product(self.project1, channel, self.large_kernel(u), simple_gate(u))
        x = add_product(x, self.beta, attended).to(torch.promote_types(x.dtype, self.beta.dtype))
        u = simple_gate(self.expand2(self.norm2(x)))
        return add_product(x, self.gamma, self.project2(self.ima(u)))
