"""Stored pairs of sharp and degraded images with the random resize of FeMaSR's and AdaCode's training."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from basicsr.data.transforms import augment, paired_random_crop
from basicsr.utils import img2tensor
from pydantic import Field, PositiveInt

from vqcnir_arch.data.crops import CropDataset, fresh_generator
from vqcnir_arch.data.degradations.steps import as_float
from vqcnir_arch.data.files import check_pairs, log_once_built, size, to_tensor
from vqcnir_arch.data.lists import is_list
from vqcnir_arch.data.resizing import shrink_pair
from vqcnir_arch.data.storage import StoredOptions, open_images
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import DATASET_REGISTRY, register


class StoredPairsOptions(StoredOptions):
    """Options of `StoredPairsDataset`."""

    scale: PositiveInt = Field(1, description="size of the output over size of the input, set by BasicSR")
    dataroot_gt: str = Field(
        min_length=1, description="folder of ground truths, or list of them (.txt, one path a line)"
    )
    dataroot_lq: str = Field(
        min_length=1,
        description="folder of inputs of the same names, or list, whose lines pair with those of the other",
    )
    filename_tmpl: str = Field("{}", description="name of an input, {} being its ground truth's: '{}x4'; for folders")
    random_resize: bool = Field(
        False,
        description="shrink both images by one random factor (bicubic), at most until the shorter side is gt_size: "
        "FeMaSR's use_resize_crop (training)",
    )
    hr_size: PositiveInt = Field(
        512,
        description="for random_resize, larger ground truths are first cropped to it: factors as published (training)",
    )
    max_images: PositiveInt | None = Field(None, description="take only so many pairs, for a quick validation")


@register(DATASET_REGISTRY)
class StoredPairsDataset(CropDataset):
    """Pairs that lie on disk, the ground truth `scale` times as large as its input. A sample holds

    * `gt`: RGB, [3, H, W], float32 in [0, 1]; in training [3, gt_size, gt_size];
    * `lq`: [3, H / scale, W / scale]; in training both are shrunk by one factor, flipped and turned alike;
    * `lq_path`, `gt_path`: the files;
    * `name`: the ground truth's path below its folder without ending.

    Folders may be nested to any depth, endings may differ, and LMDBs may stand in their place.

    Args:
        opt: the block of the option file, see `StoredPairsOptions`.

    Raises:
        UserError: an option is wrong, a folder or list is missing or empty, or the two sides do not pair. On access to
            a sample: a file cannot be read, the sizes are not 1 : scale, or the image is smaller than the crop.
    """

    Options = StoredPairsOptions

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        options, title = self.options, self.title
        if self.is_train and options.gt_size % options.scale:
            raise UserError(f"{title}: gt_size {options.gt_size}: expected a multiple of scale {options.scale}")
        if self.is_train and options.random_resize:
            self.check_hr_size()
        roots = {side: Path(getattr(options, side)).expanduser() for side in ("dataroot_gt", "dataroot_lq")}
        self.gt, self.lq = (open_images(root, options.io_backend, f"{title}: {side}") for side, root in roots.items())
        lists = {is_list(root) for root in roots.values()}
        if len(lists) > 1:
            raise UserError(f"{title}: dataroot_gt and dataroot_lq: expected two folders or two lists, got one of each")
        self.lq_names = self.by_line() if lists.pop() else self.by_name()
        self.names = list(self.lq_names)[: options.max_images]
        log_once_built(f"{title}: {len(self.names)} of {len(self.lq_names)} pairs of {options.dataroot_gt}")

    def by_line(self) -> dict[str, str]:
        """Pair two lists line by line: the name of each input by that of its ground truth."""
        if len(self.gt.paths) != len(self.lq.paths):
            raise UserError(
                f"{self.title}: lists pair line by line, but '{self.options.dataroot_gt}' has {len(self.gt.paths)} "
                f"images and '{self.options.dataroot_lq}' {len(self.lq.paths)}"
            )
        return dict(zip(self.gt.paths, self.lq.paths, strict=True))

    def by_name(self) -> dict[str, str]:
        """Pair two folders by name: the name of each input by that of its ground truth."""
        template = self.options.filename_tmpl
        if template.count("{}") != 1:
            raise UserError(f"{self.title}: filename_tmpl '{template}': expected one {{}}, as in '{{}}x4'")
        pairs = {}
        for name in self.gt.paths:
            path = PurePosixPath(name)
            pairs[name] = path.with_name(template.replace("{}", path.name)).as_posix()
        truths = {lq: self.gt.paths[gt] for gt, lq in pairs.items()}
        check_pairs(
            self.lq.paths, truths, f"{self.title}: '{self.options.dataroot_lq}' and '{self.options.dataroot_gt}'"
        )
        return pairs

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.names[index]
        lq_name = self.lq_names[name]
        gt_path, lq_path = self.gt.paths[name], self.lq.paths[lq_name]
        gt, lq = self.gt.read(name), self.lq.read(lq_name)
        scale = self.options.scale
        if gt.shape[:2] != tuple(side * scale for side in lq.shape[:2]):
            raise UserError(
                f"sizes of a pair do not fit scale {scale}: '{lq_path}' is {size(lq)}, '{gt_path}' {size(gt)}"
            )
        if self.is_train:
            self.check_size(gt, gt_path)
            gt, lq = img2tensor(self.training_crop(as_float(gt), as_float(lq)))
        else:
            gt, lq = to_tensor(gt), to_tensor(lq)
        return {"lq": lq, "gt": gt, "lq_path": str(lq_path), "gt_path": str(gt_path), "name": name}

    def training_crop(self, gt: np.ndarray, lq: np.ndarray) -> list[np.ndarray]:
        """Cut, shrink, crop and turn a pair; see `data/resizing.py` for the law of the factor."""
        options, scale = self.options, self.options.scale
        if options.random_resize:
            side = min(options.hr_size // scale * scale, *gt.shape[:2])
            if max(gt.shape[:2]) > side:
                gt, lq = paired_random_crop(gt, lq, side, scale)
            gt, lq = shrink_pair(gt, lq, options.gt_size, scale, fresh_generator())
        gt, lq = paired_random_crop(gt, lq, options.gt_size, scale)
        return augment([gt, lq], options.use_hflip, options.use_rot)
