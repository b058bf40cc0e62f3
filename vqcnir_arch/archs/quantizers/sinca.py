"""SinCA: continuous feature transformation in place of the code choice."""

from __future__ import annotations

from vqcnir_arch.archs.quantizers.attention import SinCAAttention
from vqcnir_arch.archs.quantizers.transformer import TransformerQuantizer
from vqcnir_arch.registry import QUANTIZER_REGISTRY, register


@register(QUANTIZER_REGISTRY)
class SinCA(TransformerQuantizer):
    """Transformer of self-in-cross-attention layers (SinCA eq. 3-4, section 5.2 and appendix A)."""

    attention = SinCAAttention
