"""Layers that every network of the library shares."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs import cpu
from vqcnir_arch.errors import UserError

GROUP_NORM_EPS = (
    1e-6  # torch's default 1e-5 misses the published networks' outputs by 2.6e-4 of their standard deviation
)
LAYER_NORM_EPS = 1e-6


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """Return the affine GroupNorm that the published networks use (their `groups` is 32)."""
    if channels % groups:
        raise UserError(f"norm_groups {groups} does not divide {channels} channels")
    return cpu.GroupNorm(groups, channels, eps=GROUP_NORM_EPS)


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of each pixel of [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Pre-activation residual block: x + conv(SiLU(GN(conv(SiLU(GN(x)))))), [B, C_in, H, W] to [B, C_out, H, W].

    The skip is a 1×1 convolution where the number of channels changes.
    """

    def __init__(self, in_channels: int, out_channels: int, norm_groups: int) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels, norm_groups)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(out_channels, norm_groups)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        in_place = not torch.is_grad_enabled()
        residual = self.conv1(F.silu(self.norm1(x), in_place))
        residual = self.conv2(F.silu(self.norm2(residual), in_place))
        return residual + self.skip(x)


class Upsample(nn.Sequential):
    """Double the size, then a 3×3 convolution from C_in to C_out.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        mode: `nearest` as published, or `bilinear` as the supplement's table 1 says.
    """

    def __init__(self, in_channels: int, out_channels: int, mode: str = "nearest") -> None:
        if mode not in ("nearest", "bilinear"):
            raise UserError(f"upsample '{mode}' is unknown (known: nearest, bilinear)")
        super().__init__(nn.Upsample(scale_factor=2, mode=mode), nn.Conv2d(in_channels, out_channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        doubling, conv = self
        if doubling.mode == "nearest" and cpu.is_fast(x):
            return cpu.double_and_convolve(x, cast(nn.Conv2d, conv))
        return super().forward(x)
