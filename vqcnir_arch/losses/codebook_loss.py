"""Losses between features and codes."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs.precision import at_least_float32, without_autocast
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
    with without_autocast(features):  # float16 would overflow before the division
        pixels = at_least_float32(features).flatten(2)
        return torch.bmm(pixels, pixels.transpose(1, 2)) / pixels.shape[2]


@register(LOSS_REGISTRY)
class CodeAlignmentLoss(nn.Module):
    """Pull the degraded image's features to the codes of the ground truth, ‖z^l - sg ẑ‖², mean over elements.

    VQCNIR eq. 15; CodeFormer's L_feat' and the second term of SinCA eq. 6 are the same loss on the input of the
    transformer.

    Args:
        alignment: `l2` is that; `l2_gram` is FeMaSR's, 0.25 · MSE + MSE of the Gram matrices.
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


@register(LOSS_REGISTRY)
class FeatureMatchingLoss(nn.Module):
    """Pull the output of a quantizer without code choice to the prior's feature of the ground truth, ‖z^t - sg z‖².

    L_matching of SinCA eq. 6 (target ẑ, the quantised feature) and VR's supervision (target z^h, what enters the
    frozen prior's quantizer); mean over elements.

    Args:
        target: `quantized` or `hq_feature`; None: what the quantizer's source says (`matching_target` of its class).
        loss_weight: weight of the loss.
    """

    def __init__(self, target: Literal["quantized", "hq_feature"] | None = None, loss_weight: float = 1.0) -> None:
        super().__init__()
        if target not in (None, "quantized", "hq_feature"):
            raise UserError(f"FeatureMatchingLoss: target '{target}' is unknown (known: hq_feature, quantized)")
        self.target = target
        self.loss_weight = loss_weight

    def forward(self, output: Tensor, features: Tensor, quantized: Tensor) -> Tensor:
        """Compare z^t with the ground truth's z^h or ẑ, all [B, d, H, W]."""
        target = features if self.target == "hq_feature" else quantized
        return self.loss_weight * F.mse_loss(output, target.detach())


@register(LOSS_REGISTRY)
class TokenCrossEntropyLoss(nn.Module):
    """Teach a classifier the codes of the ground truth (SinCA eq. 5, L_token), mean over positions.

    Args:
        loss_weight: λ_token (CodeFormer's is 0.5).
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, indices: Tensor) -> Tensor:
        """Compare the scores of all codes, [B, K, H, W], with the ground truth's codes, [B, H, W]."""
        return self.loss_weight * F.cross_entropy(logits, indices)


@register(LOSS_REGISTRY)
class ContrastLoss(nn.Module):
    """Tell each degraded image's features from those of the other images in the batch: NT-Xent of SimCLR (AdaCode).

    The two views of an image are its degraded and its clean version. Similarity of two feature maps: the cosine at
    each position, mean over positions, over a temperature. In DDP each process compares its own batch.

    Args:
        temperature: what similarities are divided by.
        loss_weight: weight of the loss.
    """

    def __init__(self, temperature: float = 0.5, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.loss_weight = loss_weight

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """Compare the features of B degraded images with those of their clean versions, both [B, C, H, W]."""
        with without_autocast(features):
            views = at_least_float32(torch.cat((features, target.detach())))
            views = F.normalize(views, dim=1).flatten(1)
            positions = features.shape[2] * features.shape[3]
            similarity = views @ views.t() / (positions * self.temperature)
        itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
        partner = torch.arange(len(views), device=views.device).roll(len(features))
        return self.loss_weight * F.cross_entropy(similarity.masked_fill(itself, -torch.inf), partner)
