"""Images for the page: scaled and compressed, and crops pixel by pixel."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vqcnir_arch.data.files import read_image, size
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.report.results import Results

LONGEST_SIDE = 1120
WEBP_QUALITY = 90
CROP_HEIGHT = 384
"""Of a crop in the PNG, at least, in pixels."""

Versions = Mapping[str, Mapping[str, Path]]
"""Title of a version (input, results, ground truth) to its files by image name."""


@dataclass(frozen=True)
class Shown:
    """One version of an image on the page."""

    title: str
    source: str
    """A data URI."""
    width: int
    height: int


def all_versions(
    inputs: Mapping[str, Path] | None, results: Sequence[Results], truths: Mapping[str, Path] | None
) -> Versions:
    """Return the versions in the order of the page."""
    versions: dict[str, Mapping[str, Path]] = {} if inputs is None else {"input": inputs}
    versions |= {each.name: each.files for each in results}
    return versions if truths is None else versions | {"ground truth": truths}


def read_images(versions: Versions, name: str) -> dict[str, np.ndarray]:
    """Read all versions of an image.

    Raises:
        UserError: one of them is broken or has another size.
    """
    images = {title: read_image(files[name]) for title, files in versions.items()}
    (first_title, first), *others = images.items()
    for title, image in others:
        if image.shape != first.shape:
            raise UserError(
                f"'{versions[title][name]}' is {size(image)}, but '{versions[first_title][name]}' is {size(first)}"
            )
    return images


def shown(title: str, image: np.ndarray) -> Shown:
    """Compress a BGR image for the page, scaled down to `LONGEST_SIDE` if it is larger."""
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    small = image
    if scale < 1:
        wanted = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(image, wanted, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".webp", small, [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY])[1]
    return Shown(title, data_uri("webp", encoded.tobytes()), width, height)


def data_uri(kind: str, content: bytes) -> str:
    """Return bytes of an image as an address that needs no file."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@dataclass(frozen=True)
class Crop:
    """A window of an image: name, left, top, width, height in pixels."""

    name: str
    x: int
    y: int
    width: int
    height: int

    @property
    def file_name(self) -> str:
        return re.sub(r"[^\w.-]", "_", f"{self.name}_{self.x}_{self.y}_{self.width}_{self.height}.png")

    def cut(self, image: np.ndarray) -> np.ndarray:
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


def parse_crop(text: str, names: Mapping[str, Path]) -> Crop:
    """Read `NAME:x,y,w,h`.

    Raises:
        UserError: it is not of that form, or there is no such image.
    """
    name, _, window = text.rpartition(":")
    numbers = re.fullmatch(r"(\d+),(\d+),([1-9]\d*),([1-9]\d*)", window)
    if not name or numbers is None:
        raise UserError(f"--crop '{text}': expected NAME:x,y,width,height in pixels, e.g. 0012/0034:400,200,96,64")
    if name not in names:
        raise UserError(f"--crop: there is no image '{name}' in the results{nearest(name, names)}")
    return Crop(name, *map(int, numbers.groups()))


def cut_versions(crop: Crop, versions: Versions) -> dict[str, np.ndarray]:
    """Cut the same window out of all versions of an image.

    Raises:
        UserError: it does not lie inside the image.
    """
    images = read_images(versions, crop.name)
    height, width = next(iter(images.values())).shape[:2]
    if crop.x + crop.width > width or crop.y + crop.height > height:
        raise UserError(
            f"--crop '{crop.name}:{crop.x},{crop.y},{crop.width},{crop.height}' ends at "
            f"{crop.x + crop.width},{crop.y + crop.height}, outside the image of {width} x {height}"
        )
    return {title: crop.cut(image) for title, image in images.items()}


def png(image: np.ndarray) -> bytes:
    """Encode a BGR image without loss."""
    return cv2.imencode(".png", image)[1].tobytes()


def side_by_side(crops: Mapping[str, np.ndarray]) -> bytes:
    """Put crops of one size beside each other, each with its title below, as a PNG.

    They are enlarged by a whole factor and drawn pixel by pixel, so that nothing is smoothed away.
    """
    from matplotlib.figure import Figure

    height, width = next(iter(crops.values())).shape[:2]
    factor = max(1, -(-CROP_HEIGHT // height))
    height, width, gap, caption, dpi = height * factor, width * factor, 8, 32, 100
    total = (len(crops) * (width + gap) - gap, height + caption)
    figure = Figure(figsize=(total[0] / dpi, total[1] / dpi), dpi=dpi, facecolor="white")
    for column, (title, crop) in enumerate(crops.items()):
        left = column * (width + gap)
        enlarged = crop[..., ::-1].repeat(factor, axis=0).repeat(factor, axis=1)
        figure.figimage(enlarged, left, caption, origin="upper")
        figure.text((left + width / 2) / total[0], caption / 2 / total[1], title, ha="center", va="center", fontsize=12)
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=dpi)
        return file.getvalue()
