"""The table of recipes: what `vqcnir data synth` can make from a sharp photograph, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel

from vqcnir_arch.data.degradations import recipe as hosts
from vqcnir_arch.data.night_blur import recipe as night_blur
from vqcnir_arch.data.night_blur.settings import NightBlurRecipe, RealNightRecipe
from vqcnir_arch.errors import UserError, nearest

Images = dict[str, np.ndarray]
Draws = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How one photograph becomes the images of a pair.

    Attributes:
        help: one line for the command's help.
        version: goes up with every change that changes bytes; a manifest of another version cannot be remade.
        Settings: what a user can set, with its defaults; the command makes one flag of each field.
        make: `make(image, rng, **settings)`: [H, W, 3] RGB uint8, a generator that every draw comes from, and the
            fields of `Settings`; returns the images by folder, each [H, W, 3] RGB uint8, and what was drawn, as JSON
            can hold it. The same image, generator state and settings give the same bytes.
        folders: names of the folders that `make` fills, inputs first.
        truth: the one of them that is the ground truth.
        layout: path of an image below the output folder, without ending, of {split}, {folder}, {name} (the source's
            path below its folder, without ending) and {pair} (number of the pair of this source). Without {pair} there
            is one pair per source, without {split} no split.
        knows_jpeg: whether `make` also takes `jpeg_source=True` for a source that is a JPEG file.
    """

    help: str
    version: int
    Settings: type[BaseModel]
    make: Callable[..., tuple[Images, Draws]]
    folders: tuple[str, ...]
    truth: str
    layout: str = "{folder}/{name}"
    knows_jpeg: bool = False


def hosts_recipe(description: str, settings: type[BaseModel], make: Callable[..., tuple[Images, Draws]]) -> Recipe:
    """Return the recipe of a host's degradation, which makes one `lq` and `gt` of each photograph."""
    return Recipe(description, hosts.VERSION, settings, make, hosts.FOLDERS, truth="gt")


LOLBLUR_LAYOUT = "{split}/{folder}/{name}/{pair:04d}"

RECIPES: dict[str, Recipe] = {
    "lolblur": Recipe(
        help="dark, blurred and almost noise-free, as LOL-Blur's frames are",
        version=night_blur.VERSION,
        Settings=NightBlurRecipe,
        make=night_blur.make,
        folders=night_blur.FOLDERS,
        truth="high_sharp_scaled",
        layout=LOLBLUR_LAYOUT,
        knows_jpeg=True,
    ),
    "real-night": Recipe(
        help="the same with the noise of a real camera and JPEG",
        version=night_blur.VERSION,
        Settings=RealNightRecipe,
        make=night_blur.make_real,
        folders=night_blur.FOLDERS,
        truth="high_sharp_scaled",
        layout=LOLBLUR_LAYOUT,
        knows_jpeg=True,
    ),
    "bsrgan": hosts_recipe(
        "x2 or x4 super-resolution, as the training pairs of FeMaSR and AdaCode", hosts.BSRGANRecipe, hosts.make_bsrgan
    ),
    "bsrgan_plus": hosts_recipe("the same, as their test sets", hosts.BSRGANPlusRecipe, hosts.make_bsrgan_plus),
    "codeformer": hosts_recipe("faces as CodeFormer's pairs", hosts.CodeFormerRecipe, hosts.make_codeformer),
    "daefr": hosts_recipe("faces as the pairs of DAEFR's last stage", hosts.FaceRecipe, hosts.make_daefr),
}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name, or raise `UserError` with the nearest right name."""
    if name not in RECIPES:
        raise UserError(f"there is no recipe '{name}'{nearest(name, RECIPES)}")
    return RECIPES[name]
