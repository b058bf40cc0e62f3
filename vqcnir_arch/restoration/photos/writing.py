"""Photographs back into files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from vqcnir_arch.atomic_files import atomic_write, reason
from vqcnir_arch.errors import UserError
from vqcnir_arch.names import PHOTO_FORMATS
from vqcnir_arch.restoration.photos.colour import HDR
from vqcnir_arch.restoration.photos.formats import HOLDS, format_of
from vqcnir_arch.restoration.photos.metadata import (
    COMMENT,
    PROCESSED_BY,
    TAGS,
    add_resolution,
    add_texts,
    exif_for,
    loaded,
    resolution,
    within,
)
from vqcnir_arch.restoration.photos.photo import Photo
from vqcnir_arch.restoration.photos.png_writing import encode_png
from vqcnir_arch.restoration.photos.tiff_writing import encode_tiff

QUALITY = 95
SEGMENT = 65533
"""Bytes that a part of a JPEG's header can hold."""
XMP_SEGMENT = SEGMENT - 29
"""The same beside the name that XMP begins with."""


def write_photo(path: Path, photo: Photo) -> list[str]:
    """Write a photograph; the ending says the format.

    Returns:
        What the format does not hold of the photograph, in words.

    Raises:
        UserError: the ending is unknown, the format cannot hold the photograph (WebP: 16383 pixels a side, JPEG:
            65500; HDR colours elsewhere than in PNG), or the file cannot be written; what was there before is
            untouched.
    """
    file_format = format_of(path)
    if photo.cicp is not None and "HDR" not in HOLDS[file_format]:
        raise UserError(f"'{path}' cannot be written: {file_format} has no {HDR[photo.cicp[1]]} (HDR): --format png")
    pixels = photo.rgb.mean(axis=2, keepdims=True) if photo.grey else photo.rgb
    if photo.alpha is not None and "transparency" in HOLDS[file_format]:
        pixels = np.concatenate((pixels, photo.alpha[..., None]), axis=2)
    deep = photo.bits == 16 and "16 bit" in HOLDS[file_format]
    top, dtype = (65535, np.uint16) if deep else (255, np.uint8)
    pixels = np.round(pixels.clip(0, 1) * top).astype(dtype)
    try:
        content, lost = ENCODERS[file_format](pixels, photo)
    except (OSError, ValueError, cv2.error) as error:
        size = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise UserError(f"'{path}' cannot be written as {file_format} ({size}): {reason(error)}") from error
    with atomic_write(path) as file:
        file.write(content)
    return [*left_out(photo, file_format), *lost]


def left_out(photo: Photo, file_format: str) -> list[str]:
    """Return in words what a format has no place for at all."""
    entries = set(loaded(photo.metadata.exif)) - {PROCESSED_BY, TAGS.Software}
    there = {
        "16 bit": photo.bits == 16,
        "transparency": photo.alpha is not None and bool((photo.alpha < 1).any()),
        "profile": photo.icc is not None,
        "EXIF": bool(entries),
        "XMP": photo.metadata.xmp is not None,
    }
    return [what for what, is_there in there.items() if is_there and what not in HOLDS[file_format]] + [
        *photo.metadata.lost
    ]


def note(path: Path, lost: list[str]) -> str:
    """Return the line that says what a written file lacks."""
    return f"vqcnir: note: '{path}' ({PHOTO_FORMATS[path.suffix.lower()]}) is without {', '.join(lost)}"


def saved(pixels: np.ndarray, file_format: str, **options: Any) -> bytes:
    """Return [H, W, 1-4], uint8, as a file by Pillow; options without a value are left out."""
    buffer = io.BytesIO()
    given = {name: value for name, value in options.items() if value}
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, file_format, **given)
    return buffer.getvalue()


def encode_jpeg(pixels: np.ndarray, photo: Photo) -> tuple[bytes, list[str]]:
    """Return a JPEG file, and what of its metadata is too long for it."""
    metadata = photo.metadata
    exif = exif_for(metadata, pixels.shape[1], pixels.shape[0])
    texts = dict(metadata.text)
    comment = texts.pop(COMMENT, "").encode()
    lost = add_texts(exif, texts)
    block, cut = within(exif, SEGMENT) if len(exif) else (b"", [])
    xmp = metadata.xmp
    if xmp is not None and len(xmp) > XMP_SEGMENT:
        xmp, cut = None, [*cut, "XMP"]
    if len(comment) > SEGMENT:
        comment, cut = b"", [*cut, "comment"]
    lost += [f"{what} (JPEG takes 64 KB)" for what in cut]
    options = {"exif": block, "xmp": xmp, "comment": comment, "icc_profile": photo.icc, "dpi": rounded(photo)}
    return saved(pixels, "JPEG", quality=QUALITY, **options), lost


def rounded(photo: Photo) -> tuple[int, int] | None:
    """Return the resolution as JPEG has it."""
    dpi = resolution(photo.metadata)
    return None if dpi is None or max(dpi) > 65535 else (round(dpi[0]), round(dpi[1]))


def by_exif(file_format: str) -> Callable[[np.ndarray, Photo], tuple[bytes, list[str]]]:
    """Return the writer of a format whose texts and resolution stand in EXIF."""

    def encode(pixels: np.ndarray, photo: Photo) -> tuple[bytes, list[str]]:
        metadata = photo.metadata
        exif = exif_for(metadata, pixels.shape[1], pixels.shape[0])
        lost = add_texts(exif, metadata.text)
        add_resolution(exif, metadata)
        kept = {"exif": exif.tobytes() if len(exif) else None, "xmp": metadata.xmp, "icc_profile": photo.icc}
        lossless = photo.lossless and file_format == "WEBP"
        return saved(pixels, file_format, quality=QUALITY, lossless=lossless, exact=lossless, **kept), lost

    return encode


ENCODERS: dict[str, Callable[[np.ndarray, Photo], tuple[bytes, list[str]]]] = {
    "PNG": lambda pixels, photo: (encode_png(pixels, photo), []),
    "JPEG": encode_jpeg,
    "WEBP": by_exif("WEBP"),
    "AVIF": by_exif("AVIF"),
    "TIFF": encode_tiff,
    "BMP": lambda pixels, photo: (saved(pixels, "BMP", dpi=resolution(photo.metadata)), []),
}
