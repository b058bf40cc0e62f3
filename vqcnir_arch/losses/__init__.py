"""Losses that BasicSR lacks; importing this package registers them."""

from vqcnir_arch.losses.association_loss import AssociationLoss
from vqcnir_arch.losses.codebook_loss import (
    CodeAlignmentLoss,
    CodebookLoss,
    ContrastLoss,
    FeatureMatchingLoss,
    TokenCrossEntropyLoss,
)
from vqcnir_arch.losses.perceptual_loss import (
    LPIPSLoss,
    SemanticGuidedLoss,
    VGG16PerceptualLoss,
    VGG19PerceptualLoss,
)
from vqcnir_arch.losses.quality_loss import PSNRLoss, SSIMLoss

__all__ = [
    "AssociationLoss",
    "CodeAlignmentLoss",
    "CodebookLoss",
    "ContrastLoss",
    "FeatureMatchingLoss",
    "LPIPSLoss",
    "PSNRLoss",
    "SSIMLoss",
    "SemanticGuidedLoss",
    "TokenCrossEntropyLoss",
    "VGG16PerceptualLoss",
    "VGG19PerceptualLoss",
]
