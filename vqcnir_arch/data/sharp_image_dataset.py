"""Sharp photographs alone, for the VQ prior."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from basicsr.data.transforms import augment, paired_random_crop
from pydantic import Field, PositiveInt
from torch.utils.data import Dataset

from vqcnir_arch.data.files import (
    LoaderOptions,
    existing_folder,
    find_images,
    log_once_built,
    parse_options,
    read_image,
    size,
    to_tensor,
)
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import DATASET_REGISTRY, register


class SharpImageOptions(LoaderOptions):
    """Options of `SharpImageDataset`."""

    scale: Literal[1] = Field(1, description="the prior reconstructs at the same size")
    dataroot: str | list[str] = Field(min_length=1, description="folder of images, or several")
    gt_size: PositiveInt | None = Field(None, description="side of the random crop in pixels (training)")
    random_resize: bool = Field(
        False, description="first shrink the image at random, at most until its shorter side is gt_size (training)"
    )
    use_hflip: bool = Field(True, description="flip left to right at random (training)")
    use_rot: bool = Field(True, description="flip and turn by 90 degrees at random (training)")
    max_images: PositiveInt | None = Field(None, description="take only so many images, for a quick validation")


@register(DATASET_REGISTRY)
class SharpImageDataset(Dataset[dict[str, Any]]):
    """All images below one or several folders. A sample holds

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
        super().__init__()
        self.opt = opt  # BasicSR takes the name of the data set from here
        title = f"SharpImageDataset '{opt.get('name', '')}'"
        self.options = options = parse_options(SharpImageOptions, opt, title)
        self.is_train = options.phase == "train"
        if self.is_train and options.gt_size is None:
            raise UserError(f"{title}: gt_size is missing: training needs the size of its crops")
        roots = options.dataroot if isinstance(options.dataroot, list) else [options.dataroot]
        self.paths: dict[str, Path] = {}
        for root in roots:
            folder = existing_folder(Path(root).expanduser(), f"{title}: dataroot")
            for name, path in find_images(folder).items():
                self.paths[name if len(roots) == 1 else f"{folder.name}/{name}"] = path
        self.names = list(self.paths)[: options.max_images]
        log_once_built(f"{title}: {len(self.names)} of {len(self.paths)} images of {', '.join(roots)}")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.names[index]
        path = self.paths[name]
        image = read_image(path)
        if self.is_train:
            crop = self.options.gt_size
            if min(image.shape[:2]) < crop:
                raise UserError(f"image '{path}' is {size(image)}, smaller than gt_size {crop}")
            if self.options.random_resize:
                image = random_shrink(image, crop)
            image, _ = paired_random_crop(image, image, crop, 1)
            image = augment(image, self.options.use_hflip, self.options.use_rot)
        tensor = to_tensor(image)
        return {"lq": tensor, "gt": tensor, "lq_path": str(path), "gt_path": str(path), "name": name}


def random_shrink(image: np.ndarray, smallest: int) -> np.ndarray:
    """Shrink [H, W, 3] by a factor uniform between 1 and the one that makes its shorter side `smallest` (FeMaSR)."""
    height, width = image.shape[:2]
    factor = random.uniform(smallest / min(height, width), 1)
    shrunk = (max(smallest, round(width * factor)), max(smallest, round(height * factor)))
    return cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
