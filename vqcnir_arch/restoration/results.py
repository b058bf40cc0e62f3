"""What made a result: written into the file's own metadata, and read from it, so that no result is restored again."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.restoration.photo import PROCESSED_BY, READ, Photo
from vqcnir_arch.restoration.video import is_video, video_comment
from vqcnir_arch.version import __version__

SIGN = "vqcnir "
"""How the line that a result carries begins."""


def maker_line(net: VQNetwork, checkpoint: Path, strength: float) -> str:
    """Say what makes a result: version, network, the checkpoint's SHA-256, strength."""
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    kind = type(net).__name__
    return f"{SIGN}{__version__}, {kind}, checkpoint sha256 {digest}, strength {strength:g}"


def as_result(photo: Photo, rgb: np.ndarray, maker: str) -> Photo:
    """Return a photograph in other colours, [H', W', 3], with the line that says what made them."""
    exif = Image.Exif()
    exif.load(photo.exif or b"")
    exif[PROCESSED_BY] = maker
    return replace(photo.with_colours(rgb), exif=exif.tobytes())


def is_result(path: Path) -> bool:
    """Whether a photograph or video carries such a line; only the beginning of the file is read."""
    if is_video(path):
        return video_comment(path).startswith(SIGN)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=READ) as image:
                if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode all of it to be sure
                    return False
                return str(image.getexif().get(PROCESSED_BY)).startswith(SIGN)
    except Exception:  # whatever Pillow lets escape: a file that cannot be read is no result, and is refused later
        return False
