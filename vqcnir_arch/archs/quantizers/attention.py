"""The three attentions that SinCA's paper compares; they differ in where keys and values come from."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.errors import UserError


class SinCAAttention(nn.Module):
    """Self-in-cross-attention: features attend to themselves and to the codebook at once (SinCA eq. 3-4).

    With features X and codebook C, projections W_K and W_V being the same for both:

        Q = X W_Q,  K = [X; C] W_K,  V = [X; C] W_V,  A = softmax(Q Kᵀ / √d_head),  O = A V W_O

    Eq. 4 prints √d and no heads, section 6.1 has eight: the scale here is per head, and `num_heads=1` is eq. 4 to the
    letter. W_O (`project`) and the absence of biases are ours; the paper says nothing of either.

    Args:
        dim: d, channels of the features and length of a code.
        num_heads: attention heads.
    """

    sees_features: ClassVar[bool] = True
    sees_codebook: ClassVar[bool] = True

    def __init__(self, dim: int, num_heads: int = 8) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise UserError(f"num_heads {num_heads} does not divide {dim} channels")
        self.num_heads = num_heads
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.project = nn.Linear(dim, dim, bias=False)

    def forward(self, features: Tensor, codebook: Tensor, need_weights: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Attend from every feature to all features of its image and to all codes.

        Args:
            features: X, [B, N, d].
            codebook: C, [K, d].
            need_weights: also return the attention map. It is built for this alone: at a 1120×640 frame, with 8 heads,
                it holds 4.4 GB.

        Returns:
            O, [B, N, d]; with `need_weights` (O, A), A being [B, heads, N, N+K], the features' part first.
        """
        value = self.split_heads(self.project_sources(self.value, features, codebook))
        if need_weights:
            weights = self.attention_map(features, codebook)
            return self.project(merge_heads(weights @ value)), weights
        query = self.split_heads(self.query(features))
        key = self.split_heads(self.project_sources(self.key, features, codebook))
        return self.project(merge_heads(F.scaled_dot_product_attention(query, key, value)))

    def attention_map(self, features: Tensor, codebook: Tensor, positions: Tensor | None = None) -> Tensor:
        """Return A of all features, or only the rows of some, [B, heads, P, N+K].

        Args:
            features: X, [B, N, d].
            codebook: C, [K, d].
            positions: indices into the N features, [P]; None: all.
        """
        asking = features if positions is None else features[:, positions]
        query = self.split_heads(self.query(asking))
        key = self.split_heads(self.project_sources(self.key, features, codebook))
        return (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(dim=-1)

    def project_sources(self, layer: nn.Linear, features: Tensor, codebook: Tensor) -> Tensor:
        """Project what this attention sees, [B, M, d]; the codebook once, not once per image."""
        parts = [layer(features)] if self.sees_features else []
        if self.sees_codebook:
            parts.append(layer(codebook).expand(features.shape[0], -1, -1))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def split_heads(self, x: Tensor) -> Tensor:
        """[B, M, d] to [B, heads, M, d/heads]."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class CodebookCrossAttention(SinCAAttention):
    """Keys and values from the codebook alone (SinCA sections 5.1 and B.2).

    Section 6.3 has query and value from the codebook and the key from the features: a product that does not exist.
    """

    sees_features = False


class FeatureSelfAttention(SinCAAttention):
    """Keys and values from the features alone; the codebook is not looked at (SinCA section B.2)."""

    sees_codebook = False


def merge_heads(x: Tensor) -> Tensor:
    """[B, heads, M, d/heads] to [B, M, d]."""
    return x.transpose(1, 2).flatten(2)
