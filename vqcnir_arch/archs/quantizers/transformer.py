"""The transformer that stands in the place of the code choice (SinCA appendix A)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vqcnir_arch.archs.quantizers.attention import SinCAAttention
from vqcnir_arch.archs.quantizers.base import Codes, Quantizer
from vqcnir_arch.errors import UserError

FUSIONS = ("concat", "none")


class GDFN(nn.Module):
    """Gated depth-wise-convolution feed-forward network of Restormer (eq. 3 there), on [B, H, W, d].

    The depth-wise 3×3 convolution is also what tells the layers where a feature is: they have no position embedding.

    Args:
        dim: d.
        expansion: γ, the hidden width over d.
    """

    def __init__(self, dim: int, expansion: float) -> None:
        super().__init__()
        hidden = int(dim * expansion)
        self.expand = nn.Linear(dim, 2 * hidden, bias=False)  # Restormer's 1×1 convolutions, channels last
        self.depthwise = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.project = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.expand(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        if not torch.is_grad_enabled():
            return self.gate(x)
        # computed again in the backward pass: next to no work, and a fifth of what a layer would keep for it
        return checkpoint(self.gate, x, use_reentrant=False, preserve_rng_state=False)

    def gate(self, x: Tensor) -> Tensor:
        """[B, H, W, 2·hidden] to [B, H, W, d]."""
        gate, value = x.chunk(2, dim=-1)
        return self.project(F.gelu(gate) * value)


class TransformerLayer(nn.Module):
    """Attention, then GDFN, each with pre-norm and residual; the codebook enters raw (ours: the paper is silent).

    Args:
        attention: an attention of features [B, N, d] to a codebook [K, d].
        dim: d.
        expansion: γ of the feed-forward network.
    """

    def __init__(self, attention: SinCAAttention, dim: int, expansion: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = attention
        self.norm2 = nn.LayerNorm(dim)
        self.feed_forward = GDFN(dim, expansion)

    def forward(self, x: Tensor, codebook: Tensor) -> Tensor:
        """Transform [B, H, W, d] features by the [K, d] codebook."""
        attended = self.attention(self.norm1(x).flatten(1, 2), codebook)
        x = x + attended.view_as(x)
        return x + self.feed_forward(self.norm2(x))


class FeatureTransformer(nn.Module):
    """`depth` layers, then a linear layer that fuses concat[input, output] (SinCA appendix A).

    Args:
        attention: class of the attention.
        dim: d of features and codes.
        depth: number of layers.
        num_heads: attention heads.
        expansion: γ of the feed-forward networks.
        fusion: `concat` as in the paper; `none` takes the last layer's output as it is.
    """

    def __init__(
        self, attention: type[SinCAAttention], dim: int, depth: int, num_heads: int, expansion: float, fusion: str
    ) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise UserError(f"quantizer: fusion '{fusion}' is unknown (known: {', '.join(FUSIONS)})")
        self.layers = nn.ModuleList(TransformerLayer(attention(dim, num_heads), dim, expansion) for _ in range(depth))
        self.fuse = nn.Linear(2 * dim, dim, bias=False) if fusion == "concat" else None

    def forward(self, features: Tensor, codebook: Tensor) -> Tensor:
        """Transform z^l, [B, d, H, W], to z^t of the same shape by the [K, d] codebook."""
        first = x = features.permute(0, 2, 3, 1).contiguous()
        for layer in self.layers:
            x = layer(x, codebook)
        if self.fuse is not None:
            x = self.fuse(torch.cat((first, x), dim=-1))
        return x.permute(0, 3, 1, 2)


class TransformerQuantizer(Quantizer):
    """Base of the quantizers that are a transformer: no code is chosen, features go in and come out.

    Args:
        codebook_size, code_dim: as `Quantizer`.
        depth: layers; 9 is FeMaSR's in the paper, whose d and K VQCNIR shares.
        num_heads: attention heads.
        expansion: γ of the feed-forward networks (Restormer's).
        fusion: `concat` or `none`, see `FeatureTransformer`.
    """

    attention: ClassVar[type[SinCAAttention]]

    def __init__(
        self,
        codebook_size: int,
        code_dim: int,
        depth: int = 9,
        num_heads: int = 8,
        expansion: float = 2.66,
        fusion: Literal["concat", "none"] = "concat",
    ) -> None:
        super().__init__(codebook_size, code_dim)
        self.transformer = FeatureTransformer(self.attention, code_dim, depth, num_heads, expansion, fusion)

    def forward(self, features: Tensor) -> Codes:
        return Codes(features, self.transformer(features, self.codebook))
