"""An image's size and what is unusual about it, from its header alone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from vqcnir_arch.errors import UserError

ORIENTATION = 0x0112  # EXIF entry; 1 is upright, from 5 on width and height are exchanged
MODES = {"1": "grey", "L": "grey", "P": "palette", "LA": "grey, alpha", "PA": "alpha", "RGBA": "alpha", "CMYK": "CMYK"}


class Header(NamedTuple):
    """What a header tells.

    Attributes:
        width: in pixels, after turning the image as its EXIF entry says.
        height: the same.
        format: Pillow's name of the file's format.
        oddity: what the loaders change about it: grey, alpha, 16 bit, ...; empty for 8-bit RGB.
    """

    width: int
    height: int
    format: str
    oddity: str


def read_header(path: Path, content: bytes | None = None) -> Header:
    """Read an image's header, from its file or from the file's content.

    Raises:
        UserError: the file is missing or has no image's header.
    """
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as image:
            odd = [] if image.mode == "RGB" else [MODES.get(image.mode, image.mode)]
            if image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in image.tile):
                odd = ["grey", "16 bit"] if image.mode.startswith("I") else ["16 bit", *odd[1:]]
            # that of PngImageFile decodes the whole image first
            orientation = Image.Image.getexif(image).get(ORIENTATION, 1)
            width, height = image.size
            file_format = image.format or "unknown"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or "no image's header"
        raise UserError(f"image '{path}' cannot be read: {reason}") from error
    if orientation in range(2, 9):
        odd.append("EXIF-rotated")
    if orientation in range(5, 9):
        width, height = height, width
    return Header(width, height, file_format, ", ".join(odd))
