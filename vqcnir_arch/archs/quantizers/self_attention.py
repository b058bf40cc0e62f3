"""Self-attention of the features, one of the two that SinCA is compared with."""

from __future__ import annotations

from vqcnir_arch.archs.quantizers.attention import FeatureSelfAttention
from vqcnir_arch.archs.quantizers.transformer import TransformerQuantizer
from vqcnir_arch.registry import QUANTIZER_REGISTRY, register


@register(QUANTIZER_REGISTRY)
class SelfAttention(TransformerQuantizer):
    """Transformer of self-attention layers: the codebook is not looked at (SinCA B.2)."""

    attention = FeatureSelfAttention
