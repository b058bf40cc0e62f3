"""The interface that every quantizer has."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Codes(NamedTuple):
    """What a quantizer saw and what it gives.

    Attributes:
        features: its input z, [B, d, H, W].
        output: what the decoder takes, [B, d, H, W]; gradients reach `features` through it.
        indices: the chosen codes, [B, H, W], int64; None where no code is chosen.
        quantized: the chosen rows of the codebook, [B, d, H, W]; gradients reach the codebook through it.
        semantic: the prior's prediction of VGG features, where its semantic head exists, [B, C, H, W].
    """

    features: Tensor
    output: Tensor
    indices: Tensor | None = None
    quantized: Tensor | None = None
    semantic: Tensor | None = None


class Quantizer(nn.Module):
    """Base of the quantizers: holds the codebook, [K, d].

    Args:
        codebook_size: number of codes K.
        code_dim: length d of a code.
    """

    def __init__(self, codebook_size: int, code_dim: int) -> None:
        super().__init__()
        self.codebook = nn.Parameter(torch.empty(codebook_size, code_dim).uniform_(-1, 1) / codebook_size)

    def forward(self, features: Tensor) -> Codes:
        """Replace [B, d, H, W] features by ones that the codebook supports."""
        raise NotImplementedError

    def lookup(self, indices: Tensor) -> Tensor:
        """Return the codebook rows of [B, H, W] indices as [B, d, H, W]."""
        return nn.functional.embedding(indices, self.codebook).permute(0, 3, 1, 2)
