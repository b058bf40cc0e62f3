"""Losses between features and codes."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import LOSS_REGISTRY, register


@register(LOSS_REGISTRY)
class CodebookLoss(nn.Module):
    """Pull the codes to the features and the features to the codes (VQCNIR supplement eq. 2), mean over elements.

    ‖sg[z] - z_q‖² moves the codebook, ‖sg[z_q] - z‖² commits the encoder.

    Args:
        beta: β.
        beta_on: the term that β weights: `commitment` in the FeMaSR family, `codebook` in CodeFormer and DAEFR.
        loss_weight: λ_c.
    """

    def __init__(
        self, beta: float = 0.25, beta_on: Literal["commitment", "codebook"] = "commitment", loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        if beta_on not in ("commitment", "codebook"):
            raise UserError(f"CodebookLoss: beta_on '{beta_on}' is unknown (known: codebook, commitment)")
        self.codebook_weight, self.commitment_weight = (beta, 1.0) if beta_on == "codebook" else (1.0, beta)
        self.loss_weight = loss_weight

    def forward(self, features: Tensor, quantized: Tensor) -> Tensor:
        """Compare z with the codebook rows z_q chosen for it, both [B, d, H, W]."""
        codebook = F.mse_loss(quantized, features.detach())
        commitment = F.mse_loss(features, quantized.detach())
        return self.loss_weight * (self.codebook_weight * codebook + self.commitment_weight * commitment)


def gram_matrix(features: Tensor) -> Tensor:
    """Return XᵀX / (H·W) of each map, X being its pixels: [B, d, H, W] to [B, d, d]."""
    pixels = features.flatten(2)
    return torch.bmm(pixels, pixels.transpose(1, 2)) / pixels.shape[2]


@register(LOSS_REGISTRY)
class CodeAlignmentLoss(nn.Module):
    """Pull the night image's features to the codes of the ground truth (VQCNIR eq. 15), mean over elements.

    Args:
        alignment: `l2` is eq. 15; `l2_gram` is FeMaSR's, 0.25 · MSE + MSE of the Gram matrices.
        loss_weight: λ_ca.
    """

    gram_l2_weight = 0.25  # FeMaSR's β on the plain term beside the Gram term

    def __init__(self, alignment: Literal["l2", "l2_gram"] = "l2", loss_weight: float = 1.0) -> None:
        super().__init__()
        if alignment not in ("l2", "l2_gram"):
            raise UserError(f"CodeAlignmentLoss: alignment '{alignment}' is unknown (known: l2, l2_gram)")
        self.alignment = alignment
        self.loss_weight = loss_weight

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """Compare z with the codebook rows of the ground truth's codes, both [B, d, H, W]."""
        target = target.detach()
        loss = F.mse_loss(features, target)
        if self.alignment == "l2_gram":
            loss = self.gram_l2_weight * loss + F.mse_loss(gram_matrix(features), gram_matrix(target))
        return self.loss_weight * loss
