"""Cross-attention to the codebook, one of the two that SinCA is compared with."""

from __future__ import annotations

from vqcnir_arch.archs.quantizers.attention import CodebookCrossAttention
from vqcnir_arch.archs.quantizers.transformer import TransformerQuantizer
from vqcnir_arch.registry import QUANTIZER_REGISTRY, register


@register(QUANTIZER_REGISTRY)
class CrossAttention(TransformerQuantizer):
    """Transformer of cross-attention layers: query from the features, key and value from the codebook (SinCA B.2)."""

    attention = CodebookCrossAttention
