"""Vector regression: real weights over the whole codebook."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcnir_arch.archs.layers import LayerNorm2d
from vqcnir_arch.archs.quantizers.base import Codes, Quantizer
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import QUANTIZER_REGISTRY, register

WEIGHTS = ("real", "softmax")
HEADS = ("mlp", "conv", "linear")


class RealWeights(nn.Conv2d):
    """The convolution to K weights; z is a sum over K codes, which would start √K times as large as a code."""

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        with torch.no_grad():
            self.weight.mul_(self.out_channels**-0.5)


@register(QUANTIZER_REGISTRY)
class VectorRegression(Quantizer):
    """VR: every position regresses weights w over all codes, z = w C (VR, "Method Overview"; no equation is public).

    The weights are real and unconstrained: neither positive nor summing to one, so any vector in the codebook's span
    can come out. The source calls its head lightweight and says no more; this one is ours: norm, 1×1 convolution, GELU,
    1×1 convolution to K weights (0.79 million parameters at the published sizes, 1.6 % of VQCNIR). What else was tried,
    and how it did: docs/quantizers.md.

    Args:
        codebook_size, code_dim: as `Quantizer`.
        weights: `real`; or `softmax`, the soft assignment that VR is set against (convex combinations of codes).
        head: `mlp` as above, `conv` with a depth-wise 3×3 convolution before the GELU, `linear` norm and the last
            convolution alone.
        hidden: hidden channels of the head; None: d.
    """

    matching_target = "hq_feature"

    def __init__(
        self,
        codebook_size: int,
        code_dim: int,
        weights: Literal["real", "softmax"] = "real",
        head: Literal["mlp", "conv", "linear"] = "mlp",
        hidden: int | None = None,
    ) -> None:
        super().__init__(codebook_size, code_dim)
        for name, value, known in (("weights", weights, WEIGHTS), ("head", head, HEADS)):
            if value not in known:
                raise UserError(f"VectorRegression: {name} '{value}' is unknown (known: {', '.join(known)})")
        self.is_softmax = weights == "softmax"
        width = code_dim if head == "linear" else hidden or code_dim
        layers: list[nn.Module] = [LayerNorm2d(code_dim)]
        if head != "linear":
            layers.append(nn.Conv2d(code_dim, width, 1))
            layers += [nn.Conv2d(width, width, 3, padding=1, groups=width)] if head == "conv" else []
            layers.append(nn.GELU())
        last = nn.Conv2d if self.is_softmax else RealWeights
        self.head = nn.Sequential(*layers, last(width, codebook_size, 1))

    def regress(self, features: Tensor) -> Tensor:
        """Return the weights w of [B, d, H, W] features, [B, K, H, W]."""
        weights = self.head(features)
        return weights.softmax(dim=1) if self.is_softmax else weights

    def forward(self, features: Tensor) -> Codes:
        # w C at every position: a 1×1 convolution whose kernel is the codebook
        return Codes(features, F.conv2d(self.regress(features), self.codebook.t()[:, :, None, None]))
