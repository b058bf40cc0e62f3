"""Code prediction: a classifier chooses the code."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vqcnir_arch.archs.quantizers.attention import FeatureSelfAttention, SinCAAttention
from vqcnir_arch.archs.quantizers.base import Codes, Quantizer
from vqcnir_arch.archs.quantizers.transformer import FeatureTransformer
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.registry import QUANTIZER_REGISTRY, register

ATTENTIONS = {"SinCA": SinCAAttention, "SelfAttention": FeatureSelfAttention}


@register(QUANTIZER_REGISTRY)
class CodePrediction(Quantizer):
    """Transformer, linear layer d to K, softmax, top-1 (SinCA B.2: the «index» rows of its table 3).

    The choice has no gradient: transformer and classifier learn from the token cross-entropy (SinCA eq. 5) alone, and
    the image's losses pass straight through to the input.

    Args:
        codebook_size, code_dim: as `Quantizer`.
        attention: layers of the transformer, `SinCA` or `SelfAttention`.
        depth, num_heads, expansion, fusion: as `SinCA`.
    """

    gives = "logits"

    def __init__(
        self,
        codebook_size: int,
        code_dim: int,
        attention: Literal["SinCA", "SelfAttention"] = "SinCA",
        depth: int = 9,
        num_heads: int = 8,
        expansion: float = 2.66,
        fusion: Literal["concat", "none"] = "concat",
    ) -> None:
        super().__init__(codebook_size, code_dim)
        if attention not in ATTENTIONS:
            raise UserError(f"CodePrediction: unknown attention '{attention}'{nearest(attention, ATTENTIONS)}")
        self.transformer = FeatureTransformer(ATTENTIONS[attention], code_dim, depth, num_heads, expansion, fusion)
        self.classify = nn.Linear(code_dim, codebook_size, bias=False)

    def forward(self, features: Tensor) -> Codes:
        tokens = self.transformer(features, self.codebook).permute(0, 2, 3, 1)
        # bfloat16 scores would tie, and ties would go to the lowest index
        with torch.autocast(features.device.type, enabled=False):
            logits = self.classify(tokens.float()).permute(0, 3, 1, 2)
        return self.choose(features, logits.argmax(dim=1), logits)
