"""TIFF files of 8 and 16 bit with all that Pillow and tifffile do not write together: EXIF, XMP, profile."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import ExifTags

from vqcnir_arch.restoration.photos.metadata import TIFF_TAGS, add_resolution, add_texts, exif_for
from vqcnir_arch.restoration.photos.photo import Photo

PRIVATE = 0x8000
"""From here on TIFF's tags are those of programs and EXIF, not of how pixels are stored."""


def encode_tiff(pixels: np.ndarray, photo: Photo) -> tuple[bytes, list[str]]:
    """Return [H, W, 1-4], uint8 or uint16, as a TIFF file, and in words what it has no place for.

    EXIF's block is a TIFF directory already: with the tags of the pixels, which follow it, it is the file.
    """
    height, width, samples = pixels.shape
    exif = exif_for(photo.metadata, width, height)
    order: Literal["<", ">"] = ">" if exif.endian == ">" else "<"
    for tag in set(exif) - TIFF_TAGS:
        if tag < PRIVATE:  # a JPEG's EXIF may describe the pixels of a thumbnail
            del exif[tag]
    lost = add_texts(exif, photo.metadata.text)
    add_resolution(exif, photo.metadata)
    base = ExifTags.Base
    exif.update(
        {
            base.ImageWidth: width,
            base.ImageLength: height,
            base.BitsPerSample: (8 * pixels.dtype.itemsize,) * samples,
            base.Compression: 1,
            base.PhotometricInterpretation: 1 if samples < 3 else 2,
            base.StripOffsets: 0,  # counted from the end of the directory
            base.SamplesPerPixel: samples,
            base.RowsPerStrip: height,
            base.StripByteCounts: pixels.nbytes,
            base.PlanarConfiguration: 1,
        }
    )
    if samples in (2, 4):
        exif[338] = 2  # ExtraSamples: alpha by which the colours are not multiplied
    if photo.icc is not None:
        exif[34675] = photo.icc
    if photo.metadata.xmp is not None:
        exif[700] = photo.metadata.xmp
    directory = exif.tobytes().removeprefix(b"Exif\0\0")
    return directory + pixels.astype(pixels.dtype.newbyteorder(order)).tobytes(), lost
