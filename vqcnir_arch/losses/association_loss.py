"""The loss that brings two priors' features together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs.precision import at_least_float32, without_autocast
from vqcnir_arch.registry import LOSS_REGISTRY, register

LARGEST_SCALE = 100.0
"""CLIP's limit, without which a scale that trains runs away."""


@register(LOSS_REGISTRY)
class AssociationLoss(nn.Module):
    """Symmetric InfoNCE between the features of degraded and of clean faces (DAEFR section 3.2).

    Each of the B·H·W positions of one map is to find its own position of its own face in the other.

    Args:
        loss_weight: weight of the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, first: Tensor, second: Tensor, scale: Tensor) -> Tensor:
        """Compare two feature maps [B, d, H, W]; `scale` multiplies the cosines, at most by 100."""
        with without_autocast(first):
            rows = [F.normalize(at_least_float32(x).permute(0, 2, 3, 1).flatten(0, 2), dim=1) for x in (first, second)]
            logits = scale.clamp(max=LARGEST_SCALE) * rows[0] @ rows[1].t()
            own = torch.arange(len(logits), device=logits.device)
            return self.loss_weight * (F.cross_entropy(logits, own) + F.cross_entropy(logits.t(), own)) / 2
