"""Sharp photographs alone, for the VQ prior."""

from __future__ import annotations

import random
from typing import Any

import cv2
import numpy as np
from basicsr.data.transforms import paired_random_crop
from pydantic import Field, PositiveInt

from vqcnir_arch.data.crops import CropDataset
from vqcnir_arch.data.files import log_once_built, to_tensor
from vqcnir_arch.data.storage import StoredOptions, open_all
from vqcnir_arch.registry import DATASET_REGISTRY, register


class SharpImageOptions(StoredOptions):
    """Options of `SharpImageDataset`."""

    dataroot: str | list[str] = Field(
        min_length=1, description="folder of images or list of them (.txt, one path a line), or several"
    )
    random_resize: bool = Field(
        False,
        description="cut a patch of hr_size and shrink it at random, at most to gt_size, before the crop (training)",
    )
    hr_size: PositiveInt = Field(512, description="side of that patch, at most the image's shorter side (training)")
    max_images: PositiveInt | None = Field(None, description="take only so many images, for a quick validation")


@register(DATASET_REGISTRY)
class SharpImageDataset(CropDataset):
    """All images below one or several folders, or in the LMDBs that stand in their place. A sample holds

    * `gt`: RGB, [3, H, W], float32 in [0, 1]; in training [3, gt_size, gt_size], flipped and turned;
    * `lq`: the same, since BasicSR's validation reads it;
    * `lq_path`, `gt_path`: the file;
    * `name`: its path below the folder without ending, with the folder's name before it if there are several.

    Args:
        opt: the block of the option file, see `SharpImageOptions`.

    Raises:
        UserError: an option is wrong, or a folder is missing or empty. On access to a sample: its file cannot be read,
            or the image is smaller than the crop.
    """

    Options = SharpImageOptions

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        options, title = self.options, self.title
        if self.is_train and options.random_resize:
            self.check_hr_size()
        self.found = open_all(options.dataroot, options.io_backend, title)
        self.names = list(self.found)[: options.max_images]
        log_once_built(f"{title}: {len(self.names)} of {len(self.found)} images of {options.dataroot}")

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.names[index]
        images, inner = self.found[name]
        path, image = images.paths[inner], images.read(inner)
        if self.is_train:
            self.check_size(image, path)
            if self.options.random_resize:
                image = random_shrink(image, self.options.hr_size, self.options.gt_size)
            (image,) = self.crop(image)
        tensor = to_tensor(image)
        return {"lq": tensor, "gt": tensor, "lq_path": str(path), "gt_path": str(path), "name": name}


def random_shrink(image: np.ndarray, side: int, smallest: int) -> np.ndarray:
    """Cut a square of `side` pixels out of [H, W, 3] and shrink it, bicubic, to one of `smallest` to `side`.

    FeMaSR stores such squares (of 512 pixels) and shrinks them in training. It is smaller in an image that has less.
    """
    side = min(side, *image.shape[:2])
    patch, _ = paired_random_crop(image, image, side, 1)
    shrunk = round(random.uniform(smallest, side))
    return cv2.resize(patch, (shrunk, shrunk), interpolation=cv2.INTER_CUBIC)
