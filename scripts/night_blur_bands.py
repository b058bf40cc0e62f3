"""Measure what a recipe makes of a folder of sharp photographs against the bands of LOL-Blur's published frames.

python scripts/night_blur_bands.py FOLDER [--recipe lolblur] [--draws 200] [--seed 0] [--every 2 --first 1]
python scripts/night_blur_bands.py FOLDER_OF_NIGHT_FRAMES --as-they-are
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from vqcnir_arch.data.files import decode_image, find_images, is_jpeg, read_bytes, read_image
from vqcnir_arch.data.night_blur.darkening import lightness
from vqcnir_arch.data.recipes import find_recipe
from vqcnir_arch.data.synthesis import pair_generator

# statistic of a frame, which quantile of it over all draws, and between what that must be
BANDS = (
    ("mean L", "median", 4.0, 14.0),
    ("mean L", "5 %", 1.5, 18.0),
    ("mean L", "95 %", 1.5, 18.0),
    ("saturated %", "median", 0.0, 1.0),
    ("noise σ", "median", 0.5, 1.2),
)
QUANTILES = {"5 %": 0.05, "median": 0.5, "95 %": 0.95}


def blind_sigma(image: np.ndarray) -> float:
    """Estimate the noise of a frame from its finest diagonal Haar coefficients (median absolute value / 0.6745)."""
    wide = image.astype(float)
    diagonal = (wide[:-1, :-1] - wide[1:, :-1] - wide[:-1, 1:] + wide[1:, 1:]) / 2
    return float(np.median(abs(diagonal), axis=(0, 1)).mean() / 0.6745)


def measure(image: np.ndarray, clean: np.ndarray | None = None) -> dict[str, float]:
    """Return the statistics of a night frame, [H, W, 3] RGB uint8.

    Args:
        image: the frame.
        clean: the same without noise; with it the noise is known, without it it is estimated.
    """
    level = 100 * lightness(image / 255)
    found = {
        "mean L": float(level.mean()),
        "p99 L": float(np.quantile(level, 0.99)),
        "mean RGB": float(image.mean()),
        "saturated %": float(100 * (image >= 250).all(axis=2).mean()),
        "estimated σ": blind_sigma(image),
    }
    if clean is not None:
        found["noise σ"] = float((image.astype(float) - clean).std())
    return found


def bands(
    folder: Path, recipe_name: str, draws: int, seed: int, every: int = 1, first: int = 0
) -> list[dict[str, float]]:
    """Return the statistics of `draws` pairs made from the photographs of a folder in turn."""
    recipe = find_recipe(recipe_name)
    paths = list(find_images(folder).items())[first::every]
    found = []
    for number in tqdm(range(draws), disable=None):
        name, path = paths[number % len(paths)]
        content = read_bytes(path)
        photo = cv2.cvtColor(decode_image(content, path), cv2.COLOR_BGR2RGB)
        images, _ = recipe.make(photo, pair_generator(seed, name, number // len(paths)), jpeg_source=is_jpeg(content))
        found.append(measure(images["low_blur_noise"], images["low_blur"]))
    return found


def table(found: list[dict[str, float]]) -> str:
    """Return the quantiles of all statistics as a Markdown table."""
    lines = ["| statistic | 5 % | median | 95 % |", "|---|---|---|---|"]
    for name in found[0]:
        values = [row[name] for row in found]
        lines.append(f"| {name} | " + " | ".join(f"{np.quantile(values, q):.2f}" for q in QUANTILES.values()) + " |")
    return "\n".join(lines)


def check(found: list[dict[str, float]]) -> list[str]:
    """Name the bands that are missed."""
    missed = []
    for name, what, low, high in BANDS:
        value = float(np.quantile([row[name] for row in found], QUANTILES[what]))
        if not low <= value <= high:
            missed.append(f"{what} of {name} is {value:.2f}, outside {low} to {high}")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", default="lolblur")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, help="take only every n-th photograph")
    parser.add_argument("--first", type=int, default=0, help="begin with this one")
    parser.add_argument("--as-they-are", action="store_true", help="measure night frames instead of making them")
    known = parser.parse_args()
    if known.as_they_are:
        paths = list(find_images(known.folder).values())
        print(table([measure(cv2.cvtColor(read_image(path), cv2.COLOR_BGR2RGB)) for path in paths]))
        return
    found = bands(known.folder, known.recipe, known.draws, known.seed, known.every, known.first)
    print(table(found))
    missed = check(found)
    print("all bands met" if not missed else "missed: " + "; ".join(missed))
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
