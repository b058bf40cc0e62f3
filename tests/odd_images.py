"""Makers of odd and broken image files, for every test of what reads images."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

Array = np.ndarray


class Odd(NamedTuple):
    """A kind of file.

    Attributes:
        ending: of the file's name.
        encode: file content from an image [H, W, 3], RGB, uint8.
        shows: what a reader must make of it, RGB uint8; None if it must refuse the file.
        tolerance: allowed mean difference from that, in levels (JPEG).
    """

    ending: str
    encode: Callable[[Array], bytes]
    shows: Callable[[Array], Array] | None
    tolerance: float = 0.0


def encoded(image: Array | Image.Image, kind: str, **options: Any) -> bytes:
    """Return an image file's content, written by Pillow, which is not what the library reads with."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def corrupt(content: bytes) -> bytes:
    """Overwrite eight bytes in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes(8) + content[middle + 8 :]


def turned(image: Array, kind: str) -> bytes:
    """Store an image lying on its side, with the EXIF entry that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    return encoded(
        np.ascontiguousarray(np.rot90(image)), kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {})
    )


def with_thumbnail(image: Array) -> bytes:
    """Return a JPEG that holds a small, whole JPEG in its header, as those of cameras do."""
    thumbnail = encoded(image[::4, ::4].copy(), "JPEG")
    return encoded(image, "JPEG", quality=95, exif=b"Exif\0\0" + thumbnail)


def wide(image: Array) -> bytes:
    """Return a PNG of 16 bits per channel (Pillow writes none in colour)."""
    import cv2

    return cv2.imencode(".png", image[..., ::-1].astype(np.uint16) * 256 + 77)[1].tobytes()


def grey(image: Array) -> Array:
    return image[..., 1].copy()


def grey_shown(image: Array) -> Array:
    return np.dstack([image[..., 1]] * 3)


def with_alpha(image: Array) -> Array:
    ramp = np.linspace(0, 255, image.shape[1]).astype(np.uint8)
    return np.dstack([image, np.broadcast_to(ramp, image.shape[:2])])


def same(image: Array) -> Array:
    return image


ODD_IMAGES = {
    "grey": Odd(".png", lambda im: encoded(grey(im), "PNG"), grey_shown),
    "grey 16 bit": Odd(".png", lambda im: encoded(grey(im).astype(np.uint16) * 256 + 9, "PNG"), grey_shown),
    "16 bit": Odd(".png", wide, same),
    "alpha": Odd(".png", lambda im: encoded(with_alpha(im), "PNG"), same),
    "CMYK": Odd(".jpg", lambda im: encoded(Image.fromarray(im).convert("CMYK"), "JPEG", quality=95), same, 4),
    "EXIF-rotated JPEG": Odd(".jpg", lambda im: turned(im, "JPEG"), same, 4),
    "EXIF-rotated PNG": Odd(".png", lambda im: turned(im, "PNG"), same),
    "camera JPEG": Odd(".jpg", with_thumbnail, same, 4),
    "JPEG named .png": Odd(".png", lambda im: encoded(im, "JPEG", quality=95), same, 4),
    "1x1": Odd(".png", lambda im: encoded(im[:1, :1].copy(), "PNG"), lambda im: im[:1, :1]),
    "corrupt PNG": Odd(".png", lambda im: corrupt(encoded(im, "PNG")), None),
    "truncated PNG": Odd(".png", lambda im: half(encoded(im, "PNG")), None),
    "PNG without its end": Odd(".png", lambda im: encoded(im, "PNG")[:-12], None),
    "truncated JPEG": Odd(".jpg", lambda im: half(encoded(im, "JPEG", quality=95)), None),
    "truncated camera JPEG": Odd(".jpg", lambda im: with_thumbnail(im)[:-999], None),
    "truncated progressive JPEG": Odd(".jpg", lambda im: half(encoded(im, "JPEG", progressive=True)), None),
    "zero bytes": Odd(".png", lambda im: b"", None),
    "text": Odd(".png", lambda im: b"This is no picture.\n" * 9, None),
}  # fmt: skip
READABLE = [name for name, odd in ODD_IMAGES.items() if odd.shows]
REFUSED = [name for name, odd in ODD_IMAGES.items() if not odd.shows]


def write_odd(name: str, image: Array, stem: Path) -> Path:
    """Write one kind of file made from an image [H, W, 3], RGB, uint8, and return its path: `stem` and its ending."""
    path = stem.with_name(stem.name + ODD_IMAGES[name].ending)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(ODD_IMAGES[name].encode(image))
    return path


def assert_shows(name: str, image: Array, read: Array) -> None:
    """Check what a reader made of the file, RGB uint8, against what it shows."""
    expected = ODD_IMAGES[name].shows(image)
    assert read.shape == expected.shape
    assert abs(read.astype(int) - expected).mean() <= ODD_IMAGES[name].tolerance
