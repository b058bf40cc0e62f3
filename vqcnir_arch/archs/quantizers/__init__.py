"""What stands between the encoder and the decoder: features in, features built from the codebook out.

One module per quantizer; all are chosen by `quantizer: {type: ...}` and have the interface of `Quantizer`.
"""

from vqcnir_arch.archs.quantizers.base import Codes, Quantizer
from vqcnir_arch.archs.quantizers.nearest_code import NearestCode

__all__ = ["Codes", "NearestCode", "Quantizer"]
