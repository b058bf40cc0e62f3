"""What stands between the encoder and the decoder: features in, features built from the codebook out.

One module per quantizer; all are chosen by `quantizer: {type: ...}` and have the interface of `Quantizer`.
"""

from vqcnir_arch.archs.quantizers.attention import SinCAAttention
from vqcnir_arch.archs.quantizers.base import Codes, MergedCodes, Quantizer, find_quantizers
from vqcnir_arch.archs.quantizers.code_prediction import CodePrediction
from vqcnir_arch.archs.quantizers.cross_attention import CrossAttention
from vqcnir_arch.archs.quantizers.nearest_code import NearestCode
from vqcnir_arch.archs.quantizers.self_attention import SelfAttention
from vqcnir_arch.archs.quantizers.sinca import SinCA
from vqcnir_arch.archs.quantizers.vector_regression import VectorRegression

__all__ = [
    "CodePrediction",
    "Codes",
    "CrossAttention",
    "MergedCodes",
    "NearestCode",
    "Quantizer",
    "SelfAttention",
    "SinCA",
    "SinCAAttention",
    "VectorRegression",
    "find_quantizers",
]
