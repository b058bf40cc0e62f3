"""The transformer that predicts codes in the published CodeFormer and DAEFR."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.errors import UserError


class Attention(nn.MultiheadAttention):
    """torch's, whose own way to draw its weights again has another name than that of every other layer."""

    def reset_parameters(self) -> None:
        """Draw the weights as torch does."""
        self._reset_parameters()


class CodeTransformerLayer(nn.Module):
    """Self-attention and MLP, each with pre-norm and residual; [B, N, D] to the same shape.

    Args:
        width: D; the MLP's hidden width is 2·D.
        num_heads: attention heads.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, 2 * width)
        self.linear2 = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        normed = self.norm1(x)
        placed = normed + position  # queries and keys know where they are, values don't
        x = x + self.attention(placed, placed, normed, need_weights=False)[0]
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))


class CodeTransformer(nn.Module):
    """Nine layers of self-attention with a learned position embedding (CodeFormer section 3.2).

    It runs at twice the width of the codes, 512 for 256. The position embedding fixes the size of the feature map.

    Args:
        dim: d, channels of the features.
        depth: number of layers.
        num_heads: attention heads.
        tokens: number of positions H·W.
    """

    def __init__(self, dim: int, depth: int, num_heads: int, tokens: int) -> None:
        super().__init__()
        self.width = 2 * dim
        if self.width % num_heads:
            raise UserError(f"num_heads {num_heads} does not divide {self.width} channels")
        self.embed = nn.Linear(dim, self.width)
        self.position = nn.Parameter(torch.zeros(tokens, self.width))
        self.layers = nn.ModuleList(CodeTransformerLayer(self.width, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(self.width)

    def forward(self, features: Tensor, codebook: Tensor) -> Tensor:
        """Transform [B, d, H, W] features to [B, 2d, H, W]; the codebook is not looked at."""
        size = features.shape[-2:]
        tokens = features.flatten(2).transpose(1, 2)
        if tokens.shape[1] != len(self.position):
            raise UserError(f"the position embedding has {len(self.position)} positions, the feature {tokens.shape[1]}")
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x, self.position)
        return self.norm(x).transpose(1, 2).unflatten(2, size)
