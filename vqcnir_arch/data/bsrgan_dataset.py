"""Pairs for blind super-resolution, made on the fly from sharp photographs as FeMaSR and AdaCode make theirs."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from basicsr.data.transforms import augment, mod_crop, paired_random_crop
from basicsr.utils import img2tensor
from pydantic import Field, PositiveInt

from vqcnir_arch.data.crops import CropDataset, CropOptions, fresh_generator
from vqcnir_arch.data.degradations import BSRGANPlusSettings, BSRGANSettings, Sharpen, bsrgan, bsrgan_plus, degrade
from vqcnir_arch.data.degradations.bsrgan import smallest_side
from vqcnir_arch.data.degradations.steps import as_float
from vqcnir_arch.data.files import log_once_built, read_image, size
from vqcnir_arch.data.resizing import shrink, shrink_pair
from vqcnir_arch.data.storage import find_photos
from vqcnir_arch.data.synthesis import pair_generator
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import DATASET_REGISTRY, register


class BSRGANOptions(CropOptions):
    """Options of `BSRGANDataset`."""

    # not required here: BasicSR puts it in from the head of the option file
    scale: Literal[2, 4] | None = Field(None, description="2 or 4, set by BasicSR from the option file's scale")
    dataroot: str | list[str] = Field(
        min_length=1, description="folder of sharp photographs or list of them (.txt), or several"
    )
    variant: Literal["bsrgan", "bsrgan_plus"] = Field(
        "bsrgan", description="bsrgan (the published training pairs) or bsrgan_plus (the published test sets)"
    )
    pairs: Literal["offline", "online"] = Field(
        "offline",
        description="offline: degrade a crop of hr_size, shrink both images, then crop (FeMaSR's and AdaCode's stored "
        "pairs); online: shrink a crop of hr_size, crop gt_size, then degrade (training)",
    )
    hr_size: PositiveInt = Field(512, description="side of the crop that is cut first (training)")
    random_resize: bool = Field(True, description="shrink at random (bicubic), at most to gt_size (training)")
    sharpen_gt: bool | None = Field(
        None, description="bsrgan_plus: take the sharpened photograph as ground truth; default: in training only"
    )
    seed: int = Field(0, ge=0, description="of the pairs in validation and test")
    max_images: PositiveInt | None = Field(None, description="take only so many images, for a quick validation")


@register(DATASET_REGISTRY)
class BSRGANDataset(CropDataset):
    """Photographs and what BSRGAN's degradation makes of them. A sample holds

    * `gt`: RGB, [3, H, W], float32 in [0, 1]; in training [3, gt_size, gt_size];
    * `lq`: [3, H / scale, W / scale]; in training both are flipped and turned alike;
    * `lq_path`, `gt_path`: the photograph's file, twice;
    * `name`: its path below the folder without ending, with the folder's name before it if there are several.

    In validation and test H and W are cut to multiples of the scale, and the pairs are fixed: the ones that
    `vqcnir data synth` writes with the same seed and recipe.

    Args:
        opt: the block of the option file, see `BSRGANOptions`.

    Raises:
        UserError: an option is wrong, or a folder is missing or empty. On access to a sample: its file cannot be read,
            or the image is too small.
    """

    Options = BSRGANOptions

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        options, title = self.options, self.title
        if options.scale is None:
            raise UserError(f"{title}: scale is missing: 2 or 4")
        if self.is_train:
            self.check_sides()
        self.sharpens_gt = self.is_train if options.sharpen_gt is None else options.sharpen_gt
        self.paths = find_photos(options.dataroot, title)
        self.names = list(self.paths)[: options.max_images]
        log_once_built(
            f"{title}: {len(self.names)} of {len(self.paths)} images of {options.dataroot}, "
            f"{options.variant} x{options.scale}"
        )

    def check_sides(self) -> None:
        """Raise `UserError` unless crops of gt_size and hr_size are possible."""
        options, least = self.options, smallest_side(self.options.scale)
        if options.gt_size % options.scale or options.gt_size < least:
            raise UserError(
                f"{self.title}: gt_size {options.gt_size}: expected a multiple of {options.scale}, {least} or more"
            )
        if options.pairs == "offline" or options.random_resize:
            self.check_hr_size()

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.names[index]
        path = self.paths[name]
        image = as_float(read_image(path)[..., ::-1])
        if self.is_train:
            self.check_size(image, path)
            make = self.offline_pair if self.options.pairs == "offline" else self.online_pair
            gt, lq = make(image, fresh_generator())
        else:
            least = smallest_side(self.options.scale)
            if min(image.shape[:2]) < least:
                raise UserError(f"image '{path}' is {size(image)}, expected at least {least} x {least}")
            gt = mod_crop(image, self.options.scale)
            gt, lq = self.pair(gt, pair_generator(self.options.seed, name, 0))
        gt, lq = img2tensor([gt, lq], bgr2rgb=False)
        return {"lq": lq, "gt": gt, "lq_path": str(path), "gt_path": str(path), "name": name}

    def pair(self, image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the ground truth and the degraded image of a photograph."""
        scale = self.options.scale
        if self.options.variant == "bsrgan":
            return image, bsrgan(image, rng, BSRGANSettings(scale))[0]
        sharp = degrade(image, [Sharpen()])
        lq, _ = bsrgan_plus(sharp, rng, BSRGANPlusSettings(scale, sharpen=False))
        return sharp if self.sharpens_gt else image, lq

    def online_pair(self, image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Shrink a large crop of the photograph, crop and turn it, then degrade what is left."""
        options = self.options
        if options.random_resize:
            side = min(options.hr_size, *image.shape[:2])
            image, _ = paired_random_crop(image, image, side, 1)
            small = round(rng.uniform(options.gt_size, side))
            image = shrink(image, small, small)
        (gt,) = self.crop(image)
        return self.pair(gt, rng)

    def offline_pair(self, image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Degrade a large crop, shrink both images by one factor, then crop and turn them alike."""
        options, scale = self.options, self.options.scale
        side = min(options.hr_size, *image.shape[:2]) // scale * scale
        hr, _ = paired_random_crop(image, image, side, 1)
        gt, lq = self.pair(np.ascontiguousarray(hr), rng)
        if options.random_resize:
            gt, lq = shrink_pair(gt, lq, options.gt_size, scale, rng)
        gt, lq = paired_random_crop(gt, lq, options.gt_size, scale)
        return tuple(augment([gt, lq], options.use_hflip, options.use_rot))
