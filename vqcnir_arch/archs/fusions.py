"""The fusions of both decoders' features that VQCNIR's supplement (table 3) compares with DBCA.

Each takes D's and G's feature of one level, both [B, C, H, W], and gives the second input of D's residual block, in
the place of DBCA's warped feature; D's own feature stays the first, so the residual block is the same in all.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs.channel_attention import attention_scale, channel_attention, mix_channels
from vqcnir_arch.archs.layers import LayerNorm2d
from vqcnir_arch.registry import FUSION_REGISTRY, register


class Fusion(nn.Module):
    """Base of the fusions that hand nothing on to the next finer level; same call as `DBCA`."""

    hands_on: ClassVar[bool] = False
    """Whether the next finer level gets a feature of this one, with as many channels."""

    def __init__(self) -> None:  # nn.Module's own takes anything: with it no option would be unknown
        super().__init__()

    def fuse(self, x_d: Tensor, x_g: Tensor) -> Tensor:
        """Fuse [B, C, H, W] features of decoder D and decoder G."""
        raise NotImplementedError

    def forward(self, x_d: Tensor, x_g: Tensor, carry: Tensor | None) -> tuple[Tensor, Tensor, None]:
        return x_d, self.fuse(x_d, x_g), None


@register(FUSION_REGISTRY)
class Add(Fusion):
    """x_d + x_g."""

    def fuse(self, x_d: Tensor, x_g: Tensor) -> Tensor:
        return x_d + x_g


@register(FUSION_REGISTRY)
class Concat(Fusion):
    """1×1 convolution of concat[x_d, x_g] to C channels (ours: the supplement names no layer).

    Args:
        channels: C of this level.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.merge = nn.Conv2d(2 * channels, channels, 1)

    def fuse(self, x_d: Tensor, x_g: Tensor) -> Tensor:
        return self.merge(torch.cat((x_d, x_g), dim=1))


@register(FUSION_REGISTRY)
class SKFF(Fusion):
    """Selective kernel feature fusion (MIRNet, section 3.1): a softmax between the two features, per channel.

    Args:
        channels: C of this level.
        reduction: C over the channels of the shared descriptor, which has at least 4.
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        width = max(channels // reduction, 4)
        self.squeeze = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.PReLU())
        self.select = nn.ModuleList(nn.Conv2d(width, channels, 1, bias=False) for _ in range(2))

    def shares(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shares of both features, [B, C, 1, 1] each, from the mean of their sum over all pixels."""
        descriptor = self.squeeze(mean)
        of_d, of_g = torch.stack([select(descriptor) for select in self.select]).softmax(dim=0)
        return of_d, of_g

    def fuse(self, x_d: Tensor, x_g: Tensor) -> Tensor:
        of_d, of_g = self.shares(F.adaptive_avg_pool2d(x_d, 1) + F.adaptive_avg_pool2d(x_g, 1))
        return of_d * x_d + of_g * x_g


@register(FUSION_REGISTRY)
class CrossAttention(Fusion):
    """One direction of DBCA's channel attention (query from D, key and value from G) and no deformable convolution.

    Over channels like DBCA, as f1 of a 1120×640 image has 716,800 tokens.

    Args:
        channels: C of this level.
        heads: attention heads.
        attention: `published` or `paper`, see `channel_attention`.
    """

    def __init__(self, channels: int, heads: int = 1, attention: Literal["published", "paper"] = "published") -> None:
        super().__init__()
        self.scale = attention_scale(channels, heads, attention)
        self.norm_d = LayerNorm2d(channels)
        self.norm_g = LayerNorm2d(channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def fuse(self, x_d: Tensor, x_g: Tensor) -> Tensor:
        weights = channel_attention(self.query(self.norm_d(x_d)), self.key(self.norm_g(x_g)), self.scale)
        return x_d + self.beta * mix_channels(weights, self.value(x_g))
