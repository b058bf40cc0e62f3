"""Deformable bi-directional cross-attention (VQCNIR section 3.4)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs.channel_attention import attention_scale, channel_attention, mix_channels
from vqcnir_arch.archs.cpu import add_product
from vqcnir_arch.archs.deform_conv import DeformConv2d
from vqcnir_arch.archs.layers import LayerNorm2d, group_norm
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import FUSION_REGISTRY, register

PAPER_KERNEL = 7  # eq. 12: "LKConv denotes the 7×7 convolution"


class BidirectionalCrossAttention(nn.Module):
    """Channel attention between the two decoders' features, one map for both directions (VQCNIR eq. 8-11).

    Values come from the features before the norm, as in the published network.

    Args:
        channels: C.
        heads: attention heads.
        attention: `published` or `paper`, see `channel_attention`.
    """

    def __init__(self, channels: int, heads: int, attention: str) -> None:
        super().__init__()
        self.scale = attention_scale(channels, heads, attention)
        self.norm_d = LayerNorm2d(channels)
        self.norm_g = LayerNorm2d(channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value_d = nn.Conv2d(channels, channels, 1)
        self.value_g = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x_d: Tensor, x_g: Tensor) -> tuple[Tensor, Tensor]:
        weights = channel_attention(self.query(self.norm_d(x_d)), self.key(self.norm_g(x_g)), self.scale)
        from_g = mix_channels(weights, self.value_g(x_g))
        from_d = mix_channels(weights, self.value_d(x_d))
        return add_product(x_d, self.beta, from_g), add_product(x_g, self.gamma, from_d)


class TextureWarp(nn.Module):
    """Warp D's feature by offsets estimated from both features (VQCNIR eq. 12-13, as published).

    The offset *feature* of a level goes on to the next finer one, doubled in size and value.
    """

    def __init__(self, channels: int, coarser_channels: int, offset_groups: int, norm_groups: int) -> None:
        super().__init__()
        self.estimate = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1),
            group_norm(channels, norm_groups),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
            group_norm(channels, norm_groups),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 1),
        )
        self.merge = nn.Sequential(
            nn.Conv2d(channels + coarser_channels, channels, 3, padding=1), group_norm(channels, norm_groups), nn.SiLU()
        )
        self.deform = DeformConv2d(channels, offset_groups)

    def forward(self, x_d: Tensor, x_g: Tensor, coarser_offset: Tensor | None) -> tuple[Tensor, Tensor]:
        offset = self.estimate(torch.cat((x_g, x_d), dim=1))
        if coarser_offset is not None:
            finer = F.interpolate(coarser_offset, scale_factor=2, mode="bilinear", align_corners=False) * 2
            offset = torch.cat((offset, finer), dim=1)
        offset = self.merge(offset)
        return self.deform(x_d, offset), offset


class PaperWarp(nn.Module):
    """Warp D's feature by offsets from one 7×7 convolution of concat[F_D, F_G], level by level (VQCNIR eq. 12-13).

    The convolution gives the offsets and the mask themselves, starting at zero as in the published network.
    """

    def __init__(self, channels: int, offset_groups: int) -> None:
        super().__init__()
        self.deform = DeformConv2d(channels, offset_groups, 2 * channels, PAPER_KERNEL)

    def forward(self, x_d: Tensor, x_g: Tensor, coarser_offset: Tensor | None) -> tuple[Tensor, None]:
        return self.deform(x_d, torch.cat((x_d, x_g), dim=1)), None


@register(FUSION_REGISTRY)
class DBCA(nn.Module):
    """One level of deformable bi-directional cross-attention.

    Args:
        channels: C of this level.
        coarser_channels: channels of the next coarser level's offset feature, 0 at the coarsest.
        norm_groups: groups of the group norms.
        heads: attention heads.
        offset_groups: groups of the deformable convolution.
        attention: `published`, or `paper` for eq. 8-9 as printed, see `channel_attention`.
        offset: `published`, or `paper` for eq. 12 as printed, see `PaperWarp`.
    """

    def __init__(
        self,
        channels: int,
        coarser_channels: int,
        norm_groups: int,
        heads: int = 1,
        offset_groups: int = 4,
        attention: Literal["published", "paper"] = "published",
        offset: Literal["published", "paper"] = "published",
    ) -> None:
        super().__init__()
        self.attention = BidirectionalCrossAttention(channels, heads, attention)
        self.hands_on = offset == "published"
        if offset == "published":
            self.warp: nn.Module = TextureWarp(channels, coarser_channels, offset_groups, norm_groups)
        elif offset == "paper":
            self.warp = PaperWarp(channels, offset_groups)
        else:
            raise UserError(f"fusion: offset '{offset}' is unknown (known: published, paper)")

    def forward(self, x_d: Tensor, x_g: Tensor, carry: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Fuse D's and G's features, both [B, C, H, W].

        Args:
            x_d: feature of decoder D.
            x_g: feature of decoder G.
            carry: what the coarser level handed on (here its offset feature), None at the coarsest.

        Returns:
            D's feature after the attention, the warped feature that goes beside it into D's residual block, and what
            this level hands on.
        """
        x_d, x_g = self.attention(x_d, x_g)
        warped, offset = self.warp(x_d, x_g, carry)
        return x_d, warped, offset
