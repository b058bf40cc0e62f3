"""The interface that every quantizer has."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn


class Codes(NamedTuple):
    """What a quantizer saw and what it gives.

    Attributes:
        features: its input z, [B, d, H, W].
        output: what the decoder takes, [B, d, H, W]; gradients reach `features` through it.
        indices: the chosen codes, [B, H, W], int64; None where no code is chosen.
        quantized: the chosen rows of the codebook, [B, d, H, W]; gradients reach the codebook through it. None where
            no code is chosen.
        semantic: the prior's prediction of VGG features, where its semantic head exists, [B, C, H, W].
        logits: a classifier's score of every code, [B, K, H, W], float32; None where there is no classifier.
    """

    features: Tensor
    output: Tensor
    indices: Tensor | None = None
    quantized: Tensor | None = None
    semantic: Tensor | None = None
    logits: Tensor | None = None

    @property
    def per_codebook(self) -> tuple[Codes, ...]:
        """The codes of every codebook: of the only one, these."""
        return (self,)


class MergedCodes(NamedTuple):
    """What a network with several codebooks saw and chose.

    Attributes:
        per_codebook: the codes of each codebook, in the network's order.
        features: the encoder's feature, which all of them see, [B, C, H, W].
        merged: the weighted sum of what they give, which the decoder takes, [B, C, H, W].
        weights: weight of each of the K codebooks at every position, [B, K, H, W].
    """

    per_codebook: tuple[Codes, ...]
    features: Tensor
    merged: Tensor
    weights: Tensor


class Quantizer(nn.Module):
    """Base of the quantizers: holds the codebook, [K, d].

    Args:
        codebook_size: number of codes K.
        code_dim: length d of a code.
    """

    output_kind: ClassVar[Literal["codes", "features", "logits"]] = "features"
    """What comes out, and so which losses fit: codes chosen by distance, features, or codes chosen by a classifier."""
    matching_target: ClassVar[Literal["quantized", "hq_feature"]] = "quantized"
    """What feature matching compares the output with, unless the loss says otherwise."""

    def __init__(self, codebook_size: int, code_dim: int) -> None:
        super().__init__()
        self.codebook = nn.Parameter(torch.empty(codebook_size, code_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the codes from [-1/K, 1/K]."""
        nn.init.uniform_(self.codebook, -1 / len(self.codebook), 1 / len(self.codebook))

    def forward(self, features: Tensor) -> Codes:
        """Replace [B, d, H, W] features by ones that the codebook supports."""
        raise NotImplementedError

    def lookup(self, indices: Tensor) -> Tensor:
        """Return the codebook rows of [B, H, W] indices as [B, d, H, W]."""
        # contiguous: group norm is less exact on rows in channels-last order (1.6e-4 of CodeFormer's golden output)
        return nn.functional.embedding(indices, self.codebook).permute(0, 3, 1, 2).contiguous()

    def choose(self, features: Tensor, indices: Tensor, logits: Tensor | None = None) -> Codes:
        """Replace [B, d, H, W] features by the codes of [B, H, W] indices; gradients pass straight through."""
        quantized = self.lookup(indices)
        # straight-through estimator: exactly the value of the code, the gradient of the feature
        output = (features - features.detach()) + quantized.detach()
        return Codes(features, output, indices, quantized, logits=logits)


def find_quantizers(net: nn.Module) -> dict[str, Quantizer]:
    """Return a network's quantizers by name; those of several codebooks (`codebooks.NAME.quantizer`) by their names."""
    found = {name: module for name, module in net.named_modules() if isinstance(module, Quantizer)}
    return {name.removeprefix("codebooks.").removesuffix(".quantizer"): module for name, module in found.items()}
