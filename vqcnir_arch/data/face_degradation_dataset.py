"""Pairs for blind face restoration, made on the fly as CodeFormer, DAEFR and VQFR make theirs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from basicsr.data.transforms import augment
from basicsr.utils import img2tensor
from pydantic import Field, PositiveInt

from vqcnir_arch.data.codes import read_codes
from vqcnir_arch.data.crops import ImageDataset, fresh_generator
from vqcnir_arch.data.degradations import FACE_SETTINGS, Gray, degrade, face
from vqcnir_arch.data.degradations.faces import FaceSettings, StrokeSettings, full_size
from vqcnir_arch.data.degradations.steps import as_float
from vqcnir_arch.data.files import LoaderOptions, log_once_built, read_image
from vqcnir_arch.data.storage import find_photos
from vqcnir_arch.data.synthesis import pair_generator
from vqcnir_arch.errors import UserError
from vqcnir_arch.registry import DATASET_REGISTRY, register


@dataclass(frozen=True)
class FacePairs:
    """What a stage of a host trains on: names in `FACE_SETTINGS`, None for the clean face."""

    lq: str | None
    lq_large: str | None = None
    reconstructs_lq: bool = False  # the degraded face is the ground truth, too
    grays_gt: bool = True  # the truth of a grey input is grey, unless it is to get its colours back


Setting = Literal[
    "codeformer_stage1",
    "codeformer_stage2",
    "codeformer_stage3",
    "codeformer_colorization",
    "codeformer_inpainting",
    "daefr_hq_codebook",
    "daefr_lq_codebook",
    "daefr_association",
    "daefr",
    "vqfr_light",
    "vqfr_heavy",
]
SETTINGS: dict[Setting, FacePairs] = {
    "codeformer_stage1": FacePairs(None),
    "codeformer_stage2": FacePairs("codeformer_large"),
    "codeformer_stage3": FacePairs("codeformer_small", lq_large="codeformer_large"),
    "codeformer_colorization": FacePairs("codeformer_colors", grays_gt=False),
    "codeformer_inpainting": FacePairs("codeformer_strokes"),
    "daefr_hq_codebook": FacePairs(None),
    "daefr_lq_codebook": FacePairs("daefr_light", reconstructs_lq=True),
    "daefr_association": FacePairs("daefr_light"),
    "daefr": FacePairs("daefr"),
    "vqfr_light": FacePairs("vqfr_light"),
    "vqfr_heavy": FacePairs("vqfr_heavy"),
}


class FaceDegradationOptions(LoaderOptions):
    """Options of `FaceDegradationDataset`."""

    scale: Literal[1] = Field(1, description="input and ground truth have the same size")
    dataroot: str | list[str] = Field(min_length=1, description="folder of aligned faces, or several")
    setting: Setting = Field(description=f"host and stage: {', '.join(SETTINGS)}")
    gt_size: PositiveInt = Field(512, description="side of the face in pixels; larger square images are shrunk to it")
    use_hflip: bool = Field(True, description="flip left to right at random (training)")
    gray_prob: float | None = Field(
        None,
        ge=0,
        le=1,
        description="probability of a grey input; default: the setting's (0.01 for colourisation, else 0)",
    )
    gt_gray: bool | None = Field(
        None,
        description="the ground truth of a grey input is grey, too; default: yes, but for codeformer_colorization",
    )
    codes: str | None = Field(
        None, description="file of `vqcnir data codes` with the prior's codes of these faces: spares its encoder"
    )
    seed: int = Field(0, ge=0, description="of the pairs in validation and test")
    max_images: PositiveInt | None = Field(None, description="take only so many images, for a quick validation")


@register(DATASET_REGISTRY)
class FaceDegradationDataset(ImageDataset):
    """Aligned faces and their degraded versions. A sample holds

    * `gt`, `lq`: RGB, [3, gt_size, gt_size], float32 in [0, 1]; the clean face twice for stage I, the degraded one
      twice for `daefr_lq_codebook`;
    * `lq_large`: for `codeformer_stage3`, the same face degraded by stage II's heavier setting, while `lq` has stage
      III's lighter one; all three are flipped alike;
    * `gt_codes`: with `codes`, the prior's codes of `gt`, [1, h, w] int64 (training);
    * `lq_path`, `gt_path`: the face's file, twice;
    * `name`: its path below the folder without ending, with the folder's name before it if there are several.

    In validation and test the pairs are fixed: the ones that `vqcnir data synth` writes with the same seed and recipe.

    Args:
        opt: the block of the option file, see `FaceDegradationOptions`.

    Raises:
        UserError: an option is wrong, or a folder is missing or empty. On access to a sample: its file cannot be read,
            or the image is not square or too small.
    """

    Options = FaceDegradationOptions

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        self.pairs = SETTINGS[self.options.setting]
        self.gray_prob = self.gray_probability()
        self.gt_gray = self.pairs.grays_gt if self.options.gt_gray is None else self.options.gt_gray
        self.paths = find_photos(self.options.dataroot, self.title)
        self.names = list(self.paths)[: self.options.max_images]
        self.codes = read_codes(self.options.codes, self.names) if self.options.codes and self.is_train else None
        log_once_built(
            f"{self.title}: {len(self.names)} of {len(self.paths)} images of {self.options.dataroot}, "
            f"{self.options.setting}"
        )

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.names[index]
        path = self.paths[name]
        gt = self.read_face(path)
        if self.is_train:
            gt, (is_flipped, *_) = augment(gt, self.options.use_hflip, rotation=False, return_status=True)
            rng = fresh_generator()
        else:
            rng = pair_generator(self.options.seed, name, 0)
        images = self.degraded(gt, rng)
        tensors = dict(zip(images, img2tensor(list(images.values()), bgr2rgb=False), strict=True))
        if self.codes is not None:
            tensors["gt_codes"] = self.codes[name][int(is_flipped)][None].long()
        return {
            **tensors,
            "lq_path": str(path),
            "gt_path": str(path),
            "name": name,
        }

    def gray_probability(self) -> float:
        """Return the probability of a grey input: the option's, else the setting's."""
        settings, given = FACE_SETTINGS.get(self.pairs.lq or ""), self.options.gray_prob
        if isinstance(settings, StrokeSettings) and given:
            raise UserError(f"{self.title}: gray_prob does nothing with setting {self.options.setting}, leave it out")
        return getattr(settings, "gray", 0) if given is None else given

    def read_face(self, path: Path) -> np.ndarray:
        """Read a face as [gt_size, gt_size, 3] RGB, float32 in [0, 1]."""
        image = read_image(path)[..., ::-1]
        try:
            return as_float(full_size(image, self.options.gt_size))
        except UserError as error:
            raise UserError(f"image '{path}': {error}") from error

    def degraded(self, gt: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return the images of a sample by key."""
        is_gray = self.gray_prob > 0 and rng.random() < self.gray_prob
        images = {"lq": gt, "gt": gt}
        for key, setting in (("lq", self.pairs.lq), ("lq_large", self.pairs.lq_large)):
            if setting is not None:
                images[key], _ = face(gt, rng, with_gray(FACE_SETTINGS[setting], is_gray))
        if self.pairs.reconstructs_lq:
            images["gt"] = images["lq"]
        elif is_gray and self.gt_gray and self.pairs.lq is not None:
            images["gt"] = degrade(gt, [Gray()])
        return images


def with_gray(settings: FaceSettings | StrokeSettings, is_gray: bool) -> FaceSettings | StrokeSettings:
    """Return the settings with what was drawn once for all versions of a face."""
    return replace(settings, gray=float(is_gray)) if isinstance(settings, FaceSettings) else settings
