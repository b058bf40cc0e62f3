"""The degradations as recipes of `vqcnir data synth`: 8-bit pairs of a ground truth and what was made of it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from basicsr.data.transforms import mod_crop
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from vqcnir_arch.data.degradations.bsrgan import BSRGANSettings, bsrgan, check_large_enough
from vqcnir_arch.data.degradations.bsrgan_plus import BSRGANPlusSettings, bsrgan_plus
from vqcnir_arch.data.degradations.faces import FACE_SETTINGS, face, full_size
from vqcnir_arch.data.degradations.steps import Sharpen, as_float, degrade, to_uint8

VERSION = 1  # goes up with every change that changes bytes
FOLDERS = ("lq", "gt")

Pair = tuple[dict[str, np.ndarray], dict[str, Any]]


class BSRGANRecipe(BaseModel):
    """Settings of recipe bsrgan."""

    model_config = ConfigDict(extra="forbid")
    scale: Literal[2, 4] = Field(4, description="size of the ground truth over size of the input, 2 or 4")


class BSRGANPlusRecipe(BSRGANRecipe):
    """Settings of recipe bsrgan_plus."""

    sharpen_gt: bool = Field(False, description="the sharpened photograph is the ground truth")


class FaceRecipe(BaseModel):
    """Settings of the face recipes."""

    model_config = ConfigDict(extra="forbid")
    gt_size: PositiveInt = Field(512, description="side of the face; larger square photographs are shrunk to it")


class CodeFormerRecipe(FaceRecipe):
    """Settings of recipe codeformer."""

    setting: Literal["codeformer_large", "codeformer_small", "codeformer_colors", "codeformer_strokes"] = Field(
        "codeformer_large",
        description="codeformer_large (stage II), codeformer_small (stage III), codeformer_colors (colourisation) or "
        "codeformer_strokes (inpainting)",
    )


def make_bsrgan(image: np.ndarray, rng: np.random.Generator, **settings: Any) -> Pair:
    """Make a pair with BSRGAN's degradation; see `Recipe.make`."""
    scale = BSRGANRecipe(**settings).scale
    gt = mod_cropped(image, scale)
    lq, draws = bsrgan(as_float(gt), rng, BSRGANSettings(scale))
    return {"lq": to_uint8(lq), "gt": gt}, draws


def make_bsrgan_plus(image: np.ndarray, rng: np.random.Generator, **settings: Any) -> Pair:
    """Make a pair with BSRGAN+; see `Recipe.make`."""
    chosen = BSRGANPlusRecipe(**settings)
    gt = mod_cropped(image, chosen.scale)
    lq, draws = bsrgan_plus(as_float(gt), rng, BSRGANPlusSettings(chosen.scale))
    truth = to_uint8(degrade(as_float(gt), [Sharpen()])) if chosen.sharpen_gt else gt
    return {"lq": to_uint8(lq), "gt": truth}, draws


def make_codeformer(image: np.ndarray, rng: np.random.Generator, **settings: Any) -> Pair:
    """Make a pair with CodeFormer's degradation; see `Recipe.make`."""
    chosen = CodeFormerRecipe(**settings)
    return make_face(image, rng, chosen.gt_size, chosen.setting)


def make_daefr(image: np.ndarray, rng: np.random.Generator, **settings: Any) -> Pair:
    """Make a pair with the degradation of DAEFR's last stage; see `Recipe.make`."""
    return make_face(image, rng, FaceRecipe(**settings).gt_size, "daefr")


def make_face(image: np.ndarray, rng: np.random.Generator, side: int, setting: str) -> Pair:
    """Make a pair of faces with one of `FACE_SETTINGS`."""
    gt = full_size(image, side)
    lq, draws = face(as_float(gt), rng, FACE_SETTINGS[setting])
    return {"lq": to_uint8(lq), "gt": gt}, draws


def mod_cropped(image: np.ndarray, scale: int) -> np.ndarray:
    """Cut [H, W, 3] to multiples of the scale at the bottom and right."""
    check_large_enough(image.shape[:2], scale)
    return np.ascontiguousarray(mod_crop(image, scale))
