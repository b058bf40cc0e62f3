"""Photographs of any kind as float RGB."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from vqcnir_arch.atomic_files import reason
from vqcnir_arch.errors import UserError
from vqcnir_arch.names import PHOTO_FORMATS
from vqcnir_arch.restoration.photos.colour import Colours, box_colours, png_colours
from vqcnir_arch.restoration.photos.formats import content_kind
from vqcnir_arch.restoration.photos.metadata import PROCESSED_BY, read_metadata
from vqcnir_arch.restoration.photos.photo import Photo
from vqcnir_arch.restoration.photos.quiet import quiet
from vqcnir_arch.restoration.photos.raw import read_raw
from vqcnir_arch.restoration.photos.tiff_reading import is_beyond_pillow, is_raw, picture_count, read_tiff, text_tag

PILLOWS = (*dict.fromkeys(PHOTO_FORMATS.values()), "GIF", "HEIF")
"""Formats that Pillow reads for us; it knows more, and runs other programs for some."""
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x.swapaxes(0, 1)[::-1],
}
"""What EXIF's orientation tag asks for, by its value."""


def read_photo(path: Path, max_megapixels: float = 100) -> Photo:
    """Read a photograph, turned upright as its EXIF orientation says.

    Raises:
        UserError: the file is missing, broken, animated, larger than `max_megapixels`, or not an image that we read.
    """
    try:
        with quiet():
            kind = content_kind(path)
            if kind == "RAW" or (kind == "TIFF" and is_raw(path)):
                return read_raw(path, max_megapixels)
            if kind == "TIFF" and is_beyond_pillow(path):
                return from_tiff(path, max_megapixels)
            try:
                return from_pillow(path, kind, max_megapixels)
            except UnidentifiedImageError:
                if kind != "TIFF":
                    raise
                return from_tiff(path, max_megapixels)
    except UserError:
        raise
    except Exception as error:  # Pillow lets struct.error, KeyError and others escape on broken files
        raise UserError(f"image '{path}' cannot be read: {said(error, path)}") from error


def said(error: Exception, path: Path) -> str:
    """Return a reader's error as a few words, without the path that it may repeat."""
    if not isinstance(error, UnidentifiedImageError | LookupError | TypeError | AttributeError | struct.error):
        return reason(error)
    kind = content_kind(path)
    if kind:
        return f"it begins as {kind}, but is broken or of a kind of {kind} that is not read"
    return f"not a whole image of a format that we read ({', '.join(sorted(PILLOWS))}, raw data of cameras)"


def upright(pixels: np.ndarray, orientation: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Turn [H, W, 3 or 4] as EXIF says, and return colours and alpha."""
    pixels = np.ascontiguousarray(UPRIGHT.get(orientation, lambda x: x)(pixels))
    return pixels[..., :3], pixels[..., 3] if pixels.shape[2] == 4 else None


def from_tiff(path: Path, max_megapixels: float) -> Photo:
    """Read a TIFF file that is not Pillow's."""
    page = read_tiff(path, max_megapixels)
    rgb, alpha = upright(page.pixels, page.orientation)
    return Photo(rgb, alpha, page.grey, page.bits, page.icc, metadata=page.metadata)


def from_pillow(path: Path, kind: str, max_megapixels: float) -> Photo:
    """Read what Pillow reads; the pixels of deep PNG and HEIC files come from others."""
    if kind == "HEIF":
        add_heif(path)
    with Image.open(path, formats=PILLOWS if "HEIF" in Image.OPEN else PILLOWS[:-1]) as image:
        check_header(image, path, max_megapixels)
        deep = is_deep_png(image) or image.info.get("bit_depth", 8) > 8
        image.load()  # reads to the end: only this finds truncated files
        grey = image.mode in ("1", "L", "LA", "La", "I;16", "I")
        metadata, orientation = read_metadata(image)
        pixels = deep_pixels(path, kind) if deep else shallow_pixels(image)
        icc = image.info.get("icc_profile")
        if icc is not None and image.mode in ("CMYK", "LAB"):  # it tells nothing of RGB
            icc, metadata = None, metadata.without(f"the profile of its {image.mode} colours")
    colours = Colours(icc)
    if kind == "PNG":
        colours = png_colours(path, icc, grey)
    elif kind in ("AVIF", "HEIF"):
        colours = box_colours(path, icc, grey)
    rgb, alpha = upright(pixels, orientation)
    lossless = kind == "WEBP" and is_lossless(path)
    return Photo(rgb, alpha, grey, 16 if deep else 8, colours.icc, colours.cicp, lossless, metadata)


def check_header(image: Image.Image, path: Path, max_megapixels: float) -> None:
    """Refuse what is not one photograph of a size that we take, before any pixel is decoded."""
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        raise UserError(
            f"image '{path}' has {megapixels:.0f} megapixels ({image.width} x {image.height}), "
            f"more than --max-megapixels {max_megapixels:g}"
        )
    frames = (picture_count(path) if image.format == "TIFF" else 0) or getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in ("MPO", "HEIF"):  # a camera's previews and depth maps beside the photograph
        raise UserError(f"image '{path}' holds {frames} pictures (animated or several pages), expected one")


def is_deep_png(image: ImageFile.ImageFile) -> bool:
    """Whether a file, of which only the header has been read, is a PNG of 16 bit per channel."""
    return image.format == "PNG" and any(str(tile[3]).endswith("16B") for tile in image.tile)


def add_heif(path: Path) -> None:
    """Let Pillow read HEIC files, or say what is missing."""
    try:
        import pillow_heif
    except ImportError as error:
        raise UserError(f"image '{path}' is HEIC, which needs pillow-heif: pip install 'vqcnir[heic]'") from error
    pillow_heif.register_heif_opener()


def deep_pixels(path: Path, kind: str) -> np.ndarray:
    """Read files of more than 8 bit, which Pillow cuts to 8, as `shallow_pixels` does others."""
    if kind == "HEIF":
        import pillow_heif

        raw = np.asarray(pillow_heif.open_heif(path, convert_hdr_to_8bit=False)[0])
    else:
        bgr = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
        if bgr is None or bgr.dtype != np.uint16:
            raise UserError(f"image '{path}' cannot be read: its 16-bit pixels are of an unknown kind")
        raw = bgr[..., None] if bgr.ndim == 2 else bgr[..., [2, 1, 0, 3][: bgr.shape[2]]]
    pixels = raw.astype(np.float32)
    pixels /= 65535  # in place: large photographs come through here
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def shallow_pixels(image: Image.Image) -> np.ndarray:
    """Return an 8-bit image of any PIL mode as [H, W, 3 or 4] in [0, 1]."""
    pixels = np.array(image.convert("RGBA" if image.has_transparency_data else "RGB"), np.float32)
    pixels /= 255
    return pixels


def is_lossless(path: Path) -> bool:
    """Whether a WebP file holds its first picture in the lossless form."""
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            if head[:4] in (b"VP8L", b"VP8 "):
                return head[:4] == b"VP8L"
            size = int.from_bytes(head[4:], "little")
            file.seek(size + size % 2, 1)
    return False


def processed_by(path: Path) -> str:
    """Return what a photograph says in EXIF's ProcessingSoftware; empty if nothing, or if the file cannot be read."""
    try:
        with quiet():
            if content_kind(path) == "TIFF":  # of some kinds that we write Pillow knows nothing
                return text_tag(path, PROCESSED_BY)
        with quiet(), Image.open(path, formats=PILLOWS[:-1]) as image:  # no result is HEIC
            if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode all of it to be sure
                return ""
            return str(image.getexif().get(PROCESSED_BY, ""))
    except Exception:  # whatever the readers let escape: what cannot be read is refused later
        return ""
