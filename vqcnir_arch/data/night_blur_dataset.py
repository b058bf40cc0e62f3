"""Night-blur pairs made on the fly from sharp photographs."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from basicsr.data.transforms import augment
from pydantic import Field, NonNegativeInt, PositiveInt

from vqcnir_arch.data.crops import CropDataset, CropOptions
from vqcnir_arch.data.files import (
    decode_image,
    is_jpeg,
    log_once_built,
    parse_options,
    read_bytes,
    to_tensor,
)
from vqcnir_arch.data.night_blur import Crop, draw, prepare, render
from vqcnir_arch.data.recipes import find_recipe
from vqcnir_arch.data.storage import find_photos
from vqcnir_arch.data.synthesis import pair_generator
from vqcnir_arch.registry import DATASET_REGISTRY, register


class NightBlurOptions(CropOptions):
    """Options of `NightBlurDataset`."""

    dataroot: str | list[str] = Field(min_length=1, description="folder of sharp photographs, or several")
    recipe: Literal["lolblur", "real-night"] = Field("lolblur", description="lolblur, or real-night: more noise, JPEG")
    settings: dict[str, Any] = Field({}, description="the recipe's settings, see docs/synthesis.md")
    lq_folder: Literal["low_blur_noise", "low_blur", "low_sharp"] = Field(
        "low_blur_noise", description="input: low_blur_noise, low_blur or low_sharp"
    )
    gt_folder: Literal["high_sharp_scaled", "high_sharp_original", "low_sharp"] = Field(
        "high_sharp_scaled", description="ground truth: high_sharp_scaled, high_sharp_original or low_sharp"
    )
    seed: NonNegativeInt = Field(0, description="decides the pairs of validation and test")
    max_images: PositiveInt | None = Field(None, description="take only so many photographs, for a quick validation")


@register(DATASET_REGISTRY)
class NightBlurDataset(CropDataset):
    """Dark, blurred inputs with their sharp ground truths, made from photographs on access. A sample holds

    * `lq`, `gt`: RGB, [3, H, W], float32 in [0, 1]; in training [3, gt_size, gt_size] and flipped and turned alike;
    * `lq_path`, `gt_path`: the photograph;
    * `name`: its path below the folder without ending, with the folder's name before it if there are several.

    In training every access makes another pair, from numpy's global generator: by our launchers a function of (seed,
    epoch, position) alone. A crop is darkened and blurred with what its frame has around it. In validation and test the
    pairs of whole frames are fixed: the ones that `vqcnir data synth` writes with the same seed, recipe and settings.

    Args:
        opt: the block of the option file, see `NightBlurOptions`.

    Raises:
        UserError: an option is wrong, or a folder is missing or empty. On access to a sample: its file cannot be read,
            or the image is smaller than the crop.
    """

    Options = NightBlurOptions

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        options, title = self.options, self.title
        schema = find_recipe(options.recipe).Settings
        self.settings = parse_options(schema, options.settings, f"{title}: settings")
        self.paths = find_photos(options.dataroot, title)
        self.names = list(self.paths)[: options.max_images]
        log_once_built(
            f"{title}: {options.lq_folder} -> {options.gt_folder}, made by recipe {options.recipe} from "
            f"{len(self.names)} of {len(self.paths)} images of {options.dataroot}"
        )

    def __getitem__(self, index: int) -> dict[str, Any]:
        options, name = self.options, self.names[index]
        path = self.paths[name]
        content = read_bytes(path)
        photo = cv2.cvtColor(decode_image(content, path), cv2.COLOR_BGR2RGB)
        if self.is_train:
            self.check_size(photo, path)
            rng = np.random.default_rng(np.random.randint(2**32, size=4, dtype=np.uint32))
        else:
            rng = pair_generator(options.seed, name, 0)
        draws = draw(rng, self.settings, is_jpeg(content))
        photo = prepare(photo, draws, options.gt_size if self.is_train else 1)
        crop = None
        if self.is_train:
            top, left = (int(rng.integers(side - options.gt_size + 1)) for side in photo.shape[:2])
            crop = Crop(top, left, options.gt_size, options.gt_size)
        images = render(photo, draws, crop)
        gt, lq = (cv2.cvtColor(images[folder], cv2.COLOR_RGB2BGR) for folder in (options.gt_folder, options.lq_folder))
        if self.is_train:
            gt, lq = augment([gt, lq], options.use_hflip, options.use_rot)
        return {"lq": to_tensor(lq), "gt": to_tensor(gt), "lq_path": str(path), "gt_path": str(path), "name": name}
