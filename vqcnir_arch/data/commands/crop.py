"""`vqcnir data crop`: sub-images, which a training set decodes faster than whole frames.

The grid is that of BasicSR's own script, which its pip package does not bring: steps from the top left corner, and a
last row and column that end at the border.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm.contrib.concurrent import thread_map

from vqcnir_arch.arguments import named_path, positive
from vqcnir_arch.data.files import read_image, size
from vqcnir_arch.data.preparation import add_source, source_images, written_whole
from vqcnir_arch.errors import UserError


def corners(length: int, side: int, step: int) -> list[int]:
    """Return where crops of `side` pixels begin along an edge, the last one ending at its end."""
    last = max(length - side, 0)
    return [*range(0, last, step), last]


def sub_images(image: np.ndarray, side: int, step: int) -> list[np.ndarray]:
    """Cut [H, W, 3] into overlapping squares, row by row; an edge shorter than `side` stays whole."""
    height, width = image.shape[:2]
    return [image[y : y + side, x : x + side] for y in corners(height, side, step) for x in corners(width, side, step)]


def write_crops(versions: dict[Path, Path], side: int, step: int) -> int:
    """Cut one image of each version at the same places, and return how many pieces one has.

    Args:
        versions: the image's file in each folder, by what to write: `<out>/0000/0030` for `<out>/0000/0030_s001.png`.
        side: of the crops.
        step: between them.
    """
    shapes: dict[str, Path] = {}
    for stem, path in versions.items():
        image = read_image(path)
        other = shapes.setdefault(size(image), path)
        if len(shapes) > 1:
            first = next(iter(shapes.items()))
            raise UserError(f"sizes of a pair differ: '{first[1]}' is {first[0]}, '{other}' is {size(image)}")
        stem.parent.mkdir(parents=True, exist_ok=True)
        pieces = sub_images(image, side, step)
        for number, piece in enumerate(pieces, 1):
            content = cv2.imencode(".png", piece)[1]
            stem.with_name(f"{stem.name}_s{number:03d}.png").write_bytes(content.tobytes())
    return len(pieces)


def crop(folder: Path, out: Path, names: list[str], side: int, step: int, workers: int) -> int:
    """Write the sub-images of all images below `folder` to `out`, and return how many pairs (or images) it made.

    Args:
        folder: of the images.
        out: new folder; `<out>/<name of the folder>/<image>_s001.png` and so on.
        names: folders below `folder` that pair, or [""].
        side: of the crops in pixels.
        step: between their corners.
        workers: number of threads.
    """
    found = source_images(folder, names)
    for name in found:
        if out.resolve().is_relative_to((folder / name).resolve()):
            raise UserError(f"'{out}' is inside '{folder / name}', to which its crops would belong: write elsewhere")
    with written_whole(out) as part:
        jobs = [{part / n / image: found[n][image] for n in found} for image in found[names[0]]]
        made = thread_map(lambda job: write_crops(job, side, step), jobs, max_workers=workers, unit="image")
    return sum(made)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="vqcnir data crop", description=__doc__.splitlines()[0], allow_abbrev=False)
    add_source(parser)
    parser.add_argument("--out", type=named_path, required=True, help="new folder for the sub-images")
    parser.add_argument("--size", type=positive, default=480, help="side of the crops (default: 480)")
    parser.add_argument("--step", type=positive, default=240, help="from crop to crop (default: 240)")
    given = parser.parse_args(arguments)
    made = crop(given.folder, given.out, given.folders, given.size, given.step, given.workers)
    print(f"{made:,} sub-images of {' and '.join(given.folders) or given.folder} in {given.out}")
