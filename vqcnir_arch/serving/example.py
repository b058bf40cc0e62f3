"""The page's example: a photograph from scikit-image's package, made dark and blurred."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from vqcnir_arch.data.night_blur import NightBlurRecipe, draw, prepare, render

NAME = "astronaut_night.png"
SEED = 0


def example_photo(folder: Path) -> Path:
    """Return the file of the example in a folder; it is made at the first call, always with the same pixels."""
    path = folder / NAME
    if not path.exists():
        draws = draw(np.random.default_rng(SEED), NightBlurRecipe(), jpeg_source=False)
        night = render(prepare(skimage.data.astronaut(), draws), draws)["low_blur_noise"]
        Image.fromarray(night).save(path)
    return path
