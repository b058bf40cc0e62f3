"""The demo's photographs and the night-blur pairs made from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage.data
from tqdm import tqdm

from vqcnir_arch.data.night_blur import NightBlurSettings, night_blur_pair, write_lolblur

TRAIN_SCENES = ("chelsea", "rocket", "stereo_motorcycle")
TEST_SCENES = ("astronaut", "coffee")
CROP = 256
TRAIN_CROPS = 32
TEST_CROPS = 4
# a little brighter than LOL-Blur's darkest frames: a few minutes of training cannot learn those
SETTINGS = NightBlurSettings(exposure=(0.04, 0.16))


def load_scene(name: str) -> np.ndarray:
    """Return one of the photographs inside scikit-image's package, HWC, RGB, uint8."""
    image = getattr(skimage.data, name)()
    return image[0] if isinstance(image, tuple) else image


def crops(scene: np.ndarray, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Cut `count` random CROP × CROP pieces out of a photograph."""
    height, width = scene.shape[:2]
    corners = [(rng.integers(height - CROP + 1), rng.integers(width - CROP + 1)) for _ in range(count)]
    return [scene[top : top + CROP, left : left + CROP] for top, left in corners]


def write_pairs(folder: Path, seed: int) -> None:
    """Write training and held-out pairs in LOL-Blur's layout: `<folder>/{train,test}/<kind>/<scene>/<number>.png`.

    Every scene has its own random generator, so that a pair depends on the seed, its scene and its number alone.
    """
    work = [("train", s, TRAIN_CROPS) for s in TRAIN_SCENES] + [("test", s, TEST_CROPS) for s in TEST_SCENES]
    for number, (split, name, count) in enumerate(tqdm(work, desc="making night-blur pairs", unit="scene")):
        rng = np.random.default_rng([seed, number])
        for i, crop in enumerate(crops(load_scene(name), count, rng)):
            write_lolblur(folder, split, name, f"{i:04d}", night_blur_pair(crop, rng, SETTINGS))
