"""What data sets of whole images that train on crops have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from basicsr.data.transforms import augment, paired_random_crop
from pydantic import Field, PositiveInt
from torch.utils.data import Dataset

from vqcnir_arch.data.files import LoaderOptions, parse_options, size
from vqcnir_arch.errors import UserError


class CropOptions(LoaderOptions):
    """Options of every data set that trains on crops."""

    scale: Literal[1] = Field(1, description="input and ground truth have the same size")
    gt_size: PositiveInt | None = Field(None, description="side of the random crop in pixels (training)")
    use_hflip: bool = Field(True, description="flip left to right at random (training)")
    use_rot: bool = Field(True, description="flip and turn by 90 degrees at random (training)")


class ImageDataset(Dataset[dict[str, Any]]):
    """Base of the data sets: parsed options. A subclass sets `Options` and fills in `names`, one per sample."""

    Options: ClassVar[type[LoaderOptions]]
    names: list[str]

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__()
        self.opt = opt  # BasicSR takes the name of the data set from here
        self.title = f"{type(self).__name__} '{opt.get('name', '')}'"
        self.options = parse_options(self.Options, opt, self.title)
        self.is_train = self.options.phase == "train"

    def __len__(self) -> int:
        return len(self.names)


class CropDataset(ImageDataset):
    """Base of the data sets that train on random crops."""

    Options: ClassVar[type[CropOptions]]

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        if self.is_train and self.options.gt_size is None:
            raise UserError(f"{self.title}: gt_size is missing: training needs the size of its crops")

    def check_size(self, image: np.ndarray, path: Path) -> None:
        """Raise `UserError` if [H, W, 3] is smaller than the crop."""
        if min(image.shape[:2]) < self.options.gt_size:
            raise UserError(f"image '{path}' is {size(image)}, smaller than gt_size {self.options.gt_size}")

    def check_hr_size(self) -> None:
        """Raise `UserError` if the patch that is cut before the crop, of `hr_size`, is smaller than the crop."""
        options = self.options
        if options.hr_size < options.gt_size:
            raise UserError(f"{self.title}: hr_size {options.hr_size} is smaller than gt_size {options.gt_size}")

    def crop(self, *images: np.ndarray) -> list[np.ndarray]:
        """Cut the same random crop out of images of one size, flipped and turned alike."""
        # BasicSR's helpers give one image alone without a list around it
        options = self.options
        crops, _ = paired_random_crop(list(images), images[0], options.gt_size, 1)
        crops = augment(crops, options.use_hflip, options.use_rot)
        return crops if isinstance(crops, list) else [crops]


def fresh_generator() -> np.random.Generator:
    """Return a generator for a training sample, seeded by numpy's global one: our launchers seed that per sample."""
    return np.random.default_rng(np.random.randint(2**32, size=4, dtype=np.uint32))
