"""LOL-Blur and data in its layout: dark, blurred frames with the sharp, bright frame of the middle of the exposure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt

from vqcnir_arch.archs.illumination import thumbnail
from vqcnir_arch.data.crops import CropDataset
from vqcnir_arch.data.files import check_pairs, existing_folder, log_once_built, size, to_tensor
from vqcnir_arch.data.storage import Images, JoinedImages, StoredOptions, open_images
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import DATASET_REGISTRY, register


class LOLBlurOptions(StoredOptions):
    """Options of `LOLBlurDataset`."""

    dataroot: str | list[str] = Field(min_length=1, description="folder with one folder per split, or several")
    split: str | None = Field(
        None, description="folder below dataroot; default: train or test, after the phase; '' if there is no such level"
    )
    lq_folder: str = Field("low_blur_noise", description="input below the split: low_blur_noise or low_blur")
    gt_folder: str | None = Field(
        "high_sharp_scaled",
        description="ground truth below the split: high_sharp_scaled or high_sharp_original; ~ if there is none",
    )
    every_nth: PositiveInt = Field(1, description="take only every n-th frame, for a quick validation")
    max_frames: PositiveInt | None = Field(None, description="take only so many frames, after every_nth")
    thumbnail: PositiveInt | None = Field(
        None,
        description="side of the whole input's thumbnail that goes with each crop, `size` of network_g: illumination "
        "(training)",
    )


@register(DATASET_REGISTRY)
class LOLBlurDataset(CropDataset):
    """Pairs `<dataroot>/<split>/<lq_folder>/<video>/<frame>.png`, the same below `gt_folder`.

    Folders may be nested to any depth, and endings may differ between input and ground truth; `<lq_folder>.lmdb` may
    stand in a folder's place. A sample holds

    * `lq`, `gt`: RGB, [3, H, W], float32 in [0, 1]; in training [3, gt_size, gt_size] and flipped and turned alike;
    * `lq_small`: with `thumbnail` in training, the whole input's thumbnail, [3, thumbnail, thumbnail];
    * `lq_path`, `gt_path`: the files;
    * `name`: `<video>/<frame>`, unique in the data set.

    Without ground truth (`gt_folder: ~`) there is no `gt` and no `gt_path`.

    Args:
        opt: the block of the option file, see `LOLBlurOptions`.

    Raises:
        UserError: an option is wrong, a folder is missing or empty, or inputs and ground truths do not pair. On access
            to a sample: its file cannot be read, the two sizes differ, or the image is smaller than the crop.
    """

    Options = LOLBlurOptions

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        options, title = self.options, self.title
        if self.is_train and options.gt_folder is None:
            raise UserError(f"{title}: gt_folder is ~: training needs ground truths")

        self.folders: dict[str, Path] = {}
        """First folder of each side, for messages."""
        self.lq = self.open_side(options.lq_folder, "lq_folder")
        self.gt = None
        if options.gt_folder is not None:
            self.gt = self.open_side(options.gt_folder, "gt_folder")
            sides = " and ".join(f"'{self.folders[side]}'" for side in ("lq_folder", "gt_folder"))
            check_pairs(self.lq.paths, self.gt.paths, f"{title}: {sides}")
        self.names = list(self.lq.paths)[:: options.every_nth][: options.max_frames]
        log_once_built(
            f"{title}: {len(self.names)} of {len(self.lq.paths)} frames of {self.folders['lq_folder']} -> "
            f"{options.gt_folder or 'no ground truth'}"
        )

    def open_side(self, side: str, option: str) -> Images:
        """Open the images of one side of the pairs, given by `lq_folder` or `gt_folder`, below every dataroot."""
        options, title = self.options, self.title
        split = ("train" if self.is_train else "test") if options.split is None else options.split
        roots = options.dataroot if isinstance(options.dataroot, list) else [options.dataroot]
        if len({Path(root).name for root in roots}) < len(roots):
            raise UserError(f"{title}: dataroot: two folders of the same name in {roots}: names tell frames apart")
        sources = {}
        for root in roots:
            folder = existing_folder(Path(root).expanduser(), f"{title}: dataroot")
            folder = existing_folder(folder / split, f"{title}: split") / side
            sources[Path(root).name] = open_images(folder, options.io_backend, f"{title}: {option}")
            self.folders.setdefault(option, folder)
        return sources[Path(roots[0]).name] if len(roots) == 1 else JoinedImages(sources)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.names[index]
        lq_path = self.lq.paths[name]
        lq = self.lq.read(name)
        if self.gt is None:
            return {"lq": to_tensor(lq), "lq_path": str(lq_path), "name": name}

        gt_path = self.gt.paths[name]
        gt = self.gt.read(name)
        if lq.shape != gt.shape:
            raise UserError(f"sizes of a pair differ: '{lq_path}' is {size(lq)}, '{gt_path}' is {size(gt)}")
        small = {}
        if self.is_train:
            self.check_size(gt, gt_path)
            if self.options.thumbnail is not None:
                small = {"lq_small": thumbnail(to_tensor(lq), self.options.thumbnail)}
            gt, lq = self.crop(gt, lq)
        return {
            **small,
            "lq": to_tensor(lq),
            "gt": to_tensor(gt),
            "lq_path": str(lq_path),
            "gt_path": str(gt_path),
            "name": name,
        }
