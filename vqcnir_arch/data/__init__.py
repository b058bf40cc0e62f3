"""Data sets; importing this package registers them."""

from vqcnir_arch.data.bsrgan_dataset import BSRGANDataset
from vqcnir_arch.data.face_degradation_dataset import FaceDegradationDataset
from vqcnir_arch.data.lolblur_dataset import LOLBlurDataset
from vqcnir_arch.data.night_blur import NightBlurPair, NightBlurSettings, night_blur_pair, write_lolblur
from vqcnir_arch.data.night_blur_dataset import NightBlurDataset
from vqcnir_arch.data.sharp_image_dataset import SharpImageDataset
from vqcnir_arch.data.stored_pairs_dataset import StoredPairsDataset
from vqcnir_arch.registry import import_modules

__all__ = [
    "BSRGANDataset",
    "FaceDegradationDataset",
    "LOLBlurDataset",
    "NightBlurDataset",
    "NightBlurPair",
    "NightBlurSettings",
    "SharpImageDataset",
    "StoredPairsDataset",
    "night_blur_pair",
    "write_lolblur",
]

import_modules(__name__, __path__, "_dataset")
