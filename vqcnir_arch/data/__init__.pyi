from .bsrgan_dataset import BSRGANDataset
from .face_degradation_dataset import FaceDegradationDataset
from .lolblur_dataset import LOLBlurDataset
from .night_blur import NightBlurPair, NightBlurSettings, night_blur_pair, write_lolblur
from .night_blur_dataset import NightBlurDataset
from .sharp_image_dataset import SharpImageDataset
from .stored_pairs_dataset import StoredPairsDataset

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
