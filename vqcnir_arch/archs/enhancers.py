"""The blocks that VQCNIR's supplement (table 2) puts in the place of AIEM."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs.aiem import simple_gate
from vqcnir_arch.archs.layers import LayerNorm2d
from vqcnir_arch.archs.precision import layer_of_product
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import ENHANCER_REGISTRY, register


@register(ENHANCER_REGISTRY)
class ResBlock(nn.Module):
    """EDSR's residual block, x + conv(ReLU(conv(x))) without norm: [B, C, H, W] to the same shape.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


@register(ENHANCER_REGISTRY)
class NAFBlock(nn.Module):
    """NAFNet's block: depth-wise convolution with simplified channel attention, then a gated feed-forward part.

    [B, C, H, W] to the same shape; a fresh block is the identity, as both residual scales start at zero.

    Args:
        channels: C.
        expansion: hidden channels of both parts over C (NAFNet's 2).
    """

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__()
        width = expansion * channels
        if width % 2:
            raise UserError(f"NAFBlock: the gate halves {width} channels: choose an even expansion")
        self.norm1 = LayerNorm2d(channels)
        self.expand1 = nn.Conv2d(channels, width, 1)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.attention = nn.Conv2d(width // 2, width // 2, 1)
        self.project1 = nn.Conv2d(width // 2, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

        self.norm2 = LayerNorm2d(channels)
        self.expand2 = nn.Conv2d(channels, width, 1)
        self.project2 = nn.Conv2d(width // 2, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        u = simple_gate(self.depthwise(self.expand1(self.norm1(x))))
        attended = layer_of_product(self.project1, u, self.attention(F.adaptive_avg_pool2d(u, 1)))
        x = (x + self.beta * attended).to(torch.promote_types(x.dtype, self.beta.dtype))
        u = simple_gate(self.expand2(self.norm2(x)))
        return x + self.gamma * self.project2(u)
