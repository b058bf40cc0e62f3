"""Frames of many sizes from photographs: what the pairs for VQCNIR-S are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from vqcnir_arch.atomic_files import atomic_write, make_folder
from vqcnir_arch.data.files import decode_image, encode_png, find_images, read_bytes
from vqcnir_arch.data.night_blur.darkening import lightness
from vqcnir_arch.data.storage import find_photos
from vqcnir_arch.errors import UserError, nearest

DARKEST = 0.30
"""Mean lightness L / 100 below which a photograph is no truth for a night photo."""
SMALLEST_SIDE = 256
LONGER_SIDE = (288, 800)
SHARE = (0.6, 1.0)
"""Of the photograph's sides that a frame shows."""
THUMBNAIL = (80, 80)


def write_frames(folders: Sequence[Path], out: Path, frames: int, seed: int, left_out: Sequence[str] = ()) -> int:
    """Cut frames out of photographs: near and far, large and small, never enlarged.

    Writes `<out>/frames/<photograph>_<number>.png` and `<out>/photographs.json` with each photograph's SHA-256.

    Args:
        folders: photographs, nested to any depth.
        out: folder to write.
        frames: frames of each photograph.
        seed: decides all draws; a photograph's frames depend on the seed and its own name alone.
        left_out: names (without folder and ending) of photographs that are not taken.

    Returns:
        The number of photographs taken.

    Raises:
        UserError: no photograph is left, or `left_out` names one that is not there.
    """
    paths = find_photos([str(folder) for folder in folders], "photographs")
    known = {path.stem for path in paths.values()}
    if missing := [name for name in left_out if name not in known]:
        raise UserError(
            f"photographs: '{missing[0]}' is to be left out but is not there{nearest(missing[0], known, '')}"
        )
    taken = {}
    (out / "frames").mkdir(parents=True, exist_ok=True)
    for name, path in tqdm(paths.items(), desc="cutting frames", unit="photo"):
        content = read_bytes(path)
        image = cv2.cvtColor(decode_image(content, path), cv2.COLOR_BGR2RGB)
        level = mean_lightness(image)
        if path.stem in left_out or level < DARKEST or min(image.shape[:2]) < SMALLEST_SIDE:
            continue
        taken[name] = {"sha256": hashlib.sha256(content).hexdigest(), "lightness": round(level, 3)}
        rng = np.random.default_rng([seed, *name.encode()])
        for number in range(frames):
            with atomic_write(out / f"frames/{name.replace('/', '_')}_{number:02d}.png") as file:
                file.write(encode_png(draw_frame(image, rng)))
    if not taken:
        raise UserError(f"no photograph of {len(paths)} is bright enough (L of {100 * DARKEST:.0f}) and large enough")
    with atomic_write(out / "photographs.json") as file:
        file.write(json.dumps(taken, indent=1).encode())
    return len(taken)


def write_thumbnails(pairs: Path, out: Path) -> None:
    """Write thumbnails of inputs and ground truths, a little larger than the illumination curve's, which crops them.

    They are made of finished pairs: a mean of dark pixels is brighter than what one gets by darkening their mean.
    """
    for side in ("low_blur_noise", "high_sharp_scaled"):
        folder = pairs / "train" / side
        for name, path in find_images(folder).items():
            image = cv2.cvtColor(decode_image(read_bytes(path), path), cv2.COLOR_BGR2RGB)
            target = out / "train" / side / f"{name}.png"
            make_folder(target.parent)
            with atomic_write(target) as file:
                file.write(encode_png(cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA)))


def mean_lightness(image: np.ndarray) -> float:
    """Return the mean lightness L / 100 of [H, W, 3] RGB uint8, of its thumbnail."""
    small = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
    return float(lightness(small / np.float32(255)).mean())


def draw_frame(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut a random part of [H, W, 3] and shrink it to a random size, its shorter side not below `SMALLEST_SIDE`."""
    height, width = image.shape[:2]
    share = max(rng.uniform(*SHARE), SMALLEST_SIDE / min(height, width))
    rows, columns = round(share * height), round(share * width)
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    part = image[top : top + rows, left : left + columns]
    longer = np.exp(rng.uniform(*np.log(LONGER_SIDE)))
    factor = min(1.0, max(longer / max(rows, columns), SMALLEST_SIDE / min(rows, columns)))
    size = (max(SMALLEST_SIDE, round(columns * factor)), max(SMALLEST_SIDE, round(rows * factor)))
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA)
