"""The hosts' degradations: pure functions of an image, a generator and settings."""

from vqcnir_arch.data.degradations.bsrgan import BSRGANSettings, bsrgan
from vqcnir_arch.data.degradations.bsrgan_plus import BSRGANPlusSettings, bsrgan_plus
from vqcnir_arch.data.degradations.faces import FACE_SETTINGS, FaceSettings, face
from vqcnir_arch.data.degradations.steps import Gray, Sharpen, degrade, remake

__all__ = [
    "FACE_SETTINGS",
    "BSRGANPlusSettings",
    "BSRGANSettings",
    "FaceSettings",
    "Gray",
    "Sharpen",
    "bsrgan",
    "bsrgan_plus",
    "degrade",
    "face",
    "remake",
]
