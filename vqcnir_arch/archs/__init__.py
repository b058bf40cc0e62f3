"""Networks; importing this package registers them."""

from vqcnir_arch.archs.adacode_arch import AdaCode
from vqcnir_arch.archs.associated_priors_arch import AssociatedPriors
from vqcnir_arch.archs.codeformer_arch import CodeFormer
from vqcnir_arch.archs.daefr_arch import DAEFR
from vqcnir_arch.archs.deform_conv import DeformConv2d
from vqcnir_arch.archs.face_vqgan_prior_arch import FaceVQGANPrior
from vqcnir_arch.archs.femasr_arch import FeMaSR
from vqcnir_arch.archs.quantizers import (
    CodePrediction,
    Codes,
    CrossAttention,
    MergedCodes,
    NearestCode,
    Quantizer,
    SelfAttention,
    SinCA,
    SinCAAttention,
    VectorRegression,
    find_quantizers,
)
from vqcnir_arch.archs.vqcnir_arch import VQCNIR
from vqcnir_arch.archs.vqgan_prior_arch import VQGANPrior
from vqcnir_arch.registry import ENHANCER_REGISTRY, FUSION_REGISTRY, QUANTIZER_REGISTRY, import_modules

__all__ = [
    "DAEFR",
    "ENHANCER_REGISTRY",
    "FUSION_REGISTRY",
    "QUANTIZER_REGISTRY",
    "VQCNIR",
    "AdaCode",
    "AssociatedPriors",
    "CodeFormer",
    "CodePrediction",
    "Codes",
    "CrossAttention",
    "DeformConv2d",
    "FaceVQGANPrior",
    "FeMaSR",
    "MergedCodes",
    "NearestCode",
    "Quantizer",
    "SelfAttention",
    "SinCA",
    "SinCAAttention",
    "VQGANPrior",
    "VectorRegression",
    "find_quantizers",
]

import_modules(__name__, __path__, "_arch")
