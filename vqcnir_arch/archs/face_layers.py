"""Layers of the face networks that the f8 networks do not have."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs.layers import group_norm


class Downsample(nn.Conv2d):
    """Halve an even size: one zero row and column at the bottom and the right, then a 3×3 convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class SpatialAttention(nn.Module):
    """Attention over all positions of a feature, added to it: [B, C, H, W] to the same shape.

        x + W_O · softmax(Q Kᵀ / √(C/heads)) V,  Q from GN(x) or GN'(other),  K and V from GN(x)

    Args:
        channels: C.
        norm_groups: groups of the group norms.
        num_heads: attention heads; the published auto-encoders have one.
        query_norm: build GN', which only a call with `other` uses. DAEFR's self-attentions carry one that nothing
            reads: it is frozen.
    """

    def __init__(self, channels: int, norm_groups: int, num_heads: int = 1, query_norm: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = group_norm(channels, norm_groups)
        if query_norm:
            self.query_norm = group_norm(channels, norm_groups)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        normed = self.norm(x)
        query = self.query(normed if other is None else self.query_norm(other))
        query, key, value = (self.split_heads(part) for part in (query, self.key(normed), self.value(normed)))
        attended = F.scaled_dot_product_attention(query, key, value)
        return x + self.project(attended.transpose(-2, -1).reshape(x.shape))

    def split_heads(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, heads, HW, C/heads]."""
        return x.flatten(2).unflatten(1, (self.num_heads, -1)).transpose(-2, -1)
