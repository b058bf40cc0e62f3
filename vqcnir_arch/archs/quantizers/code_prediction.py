"""Code prediction: a classifier chooses the code."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from vqcnir_arch.archs.precision import in_float32
from vqcnir_arch.archs.quantizers.attention import FeatureSelfAttention, SinCAAttention
from vqcnir_arch.archs.quantizers.base import Codes, Quantizer
from vqcnir_arch.archs.quantizers.code_transformer import CodeTransformer
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
        attention: layers of the transformer, `SinCA` or `SelfAttention`; or `CodeFormer`, the published transformer of
            CodeFormer and DAEFR and their default.
        depth, num_heads: as `SinCA`.
        expansion, fusion: as `SinCA`; `CodeFormer` reads neither.
        tokens: positions of the feature map, for `CodeFormer` alone; the face networks know theirs.
    """

    output_kind = "logits"

    def __init__(
        self,
        codebook_size: int,
        code_dim: int,
        attention: Literal["SinCA", "SelfAttention", "CodeFormer"] = "SinCA",
        depth: int = 9,
        num_heads: int = 8,
        expansion: float = 2.66,
        fusion: Literal["concat", "none"] = "concat",
        tokens: int | None = None,
    ) -> None:
        super().__init__(codebook_size, code_dim)
        width = code_dim
        if attention == "CodeFormer":
            if tokens is None:
                raise UserError("CodePrediction: attention 'CodeFormer' needs 'tokens', the feature map's positions")
            self.transformer: nn.Module = CodeTransformer(code_dim, depth, num_heads, tokens)
            width = self.transformer.width
        elif attention in ATTENTIONS:
            self.transformer = FeatureTransformer(ATTENTIONS[attention], code_dim, depth, num_heads, expansion, fusion)
        else:
            known = nearest(attention, [*ATTENTIONS, "CodeFormer"])
            raise UserError(f"CodePrediction: unknown attention '{attention}'{known}")
        self.classify = nn.Linear(width, codebook_size, bias=False)

    def forward(self, features: Tensor) -> Codes:
        tokens = self.transformer(features, self.codebook).permute(0, 2, 3, 1)
        # bfloat16 scores would tie, and ties would go to the lowest index
        logits = in_float32(self.classify, tokens).permute(0, 3, 1, 2)
        return self.choose(features, logits.argmax(dim=1), logits)
