"""Vector quantisation proper: the nearest code."""

from __future__ import annotations

import torch
from torch import Tensor

from vqcnir_arch.archs.precision import without_autocast
from vqcnir_arch.archs.quantizers.base import Codes, Quantizer
from vqcnir_arch.registry import QUANTIZER_REGISTRY, register


def nearest_indices(features: Tensor, codebook: Tensor) -> Tensor:
    """Return the index of the nearest row of `codebook` [K, d] for each row of `features` [N, d]; VQCNIR eq. 1."""
    return code_distances(features, codebook).argmin(1)


def code_distances(features: Tensor, codebook: Tensor) -> Tensor:
    """Return the squared distances of features z, [N, d], to codes, [K, d], less |z|²: it is the same for every code.

    Runs in float32 whatever autocast says: bfloat16 would flip 2-3 % of the codes.
    """
    with without_autocast(features):
        # not `no_grad`: torch.export cannot save a graph in which it stands inside `autocast`
        features, codebook = features.detach().float(), codebook.detach().float()
        return torch.addmm(codebook.square().sum(1), features, codebook.t(), alpha=-2)


def nearest_codes(features: Tensor, quantizer: Quantizer) -> Codes:
    """Replace each of [B, d, H, W] features by the nearest code of a quantizer, whatever that one does itself."""
    batch, dim, height, width = features.shape
    rows = features.permute(0, 2, 3, 1).reshape(-1, dim)
    return quantizer.choose(features, nearest_indices(rows, quantizer.codebook).view(batch, height, width))


@register(QUANTIZER_REGISTRY)
class NearestCode(Quantizer):
    """Replace each feature by its nearest code; gradients pass straight through. VQCNIR eq. 1."""

    output_kind = "codes"

    def forward(self, features: Tensor) -> Codes:
        return nearest_codes(features, self)
