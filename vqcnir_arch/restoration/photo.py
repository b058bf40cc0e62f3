"""Photographs of any kind as float RGB, and back into a file of the same kind."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from vqcnir_arch.atomic_files import atomic_write, reason
from vqcnir_arch.errors import UserError
from vqcnir_arch.names import PHOTO_FORMATS

READ = (*dict.fromkeys(PHOTO_FORMATS.values()), "GIF")
"""Formats that are read, whatever a file's ending says; Pillow knows more, and runs other programs for some."""
DEEP = ("PNG", "TIFF")
"""Formats that hold 16 bit per channel."""
QUALITY = 95
TIFF_TAGS = {
    *(
        ExifTags.Base[name]
        for name in ("Make", "Model", "ImageDescription", "DateTime", "Artist", "Copyright", "Software")
    ),
    *(ExifTags.Base[name] for name in ("XResolution", "YResolution", "ResolutionUnit", "ExifOffset", "GPSInfo")),
}
"""What is kept of a TIFF file's tags: most others say how its pixels are stored, which the result's are not."""
PROCESSED_BY = ExifTags.Base.ProcessingSoftware
"""Tag of a result's line (`results`); cameras and editors leave it alone, and so does the result the camera's tags."""
ASCII = 2  # TIFF's type of text
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


@dataclass(frozen=True)
class Photo:
    """An upright photograph and what its file says beside the colours.

    Attributes:
        rgb: [H, W, 3], float32 in [0, 1], in the colour space of the file; grey is repeated.
        alpha: [H, W], float32 in [0, 1], or None.
        grey: whether the file has no colours.
        bits: 8 or 16 per channel.
        icc: colour profile, or None; colours are not converted, so it holds for the result as well.
        exif: EXIF block without orientation, or None.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    bits: int = 8
    icc: bytes | None = None
    exif: bytes | None = None

    def with_colours(self, rgb: np.ndarray) -> Photo:
        """Return the photograph in other colours, [H', W', 3]; where they are larger, its transparency grows too."""
        return replace(self, rgb=rgb, alpha=None if self.alpha is None else resized(self.alpha, rgb))


def resized(pixels: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return [H, W] or [H, W, 3] in [0, 1] in the height and width of another image, bicubic where they differ."""
    height, width = like.shape[:2]
    if pixels.shape[:2] == (height, width):
        return pixels
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def read_photo(path: Path, max_megapixels: float = 100) -> Photo:
    """Read a photograph, turned upright as its EXIF orientation says.

    Raises:
        UserError: the file is missing, broken, animated, larger than `max_megapixels`, or not an image that we read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns of large files, which we refuse by our own limit
            with Image.open(path, formats=READ) as image:
                check_header(image, path, max_megapixels)
                deep = is_deep(image)
                image.load()  # reads to the end: only this finds truncated files
                exif = image.getexif()
                orientation = exif.pop(ExifTags.Base.Orientation, 1)
                if image.format == "TIFF":
                    for tag in set(exif) - TIFF_TAGS:
                        del exif[tag]
                pixels, bits, grey = deep_pixels(path) if deep else shallow_pixels(image)
                icc = image.info.get("icc_profile") if image.mode != "CMYK" else None
                block = exif.tobytes() if len(exif) else None
    except UserError:
        raise
    except Exception as error:  # Pillow lets struct.error, KeyError and others escape on broken files
        raise UserError(f"image '{path}' cannot be read: {said(error)}") from error
    pixels = np.ascontiguousarray(UPRIGHT.get(orientation, lambda x: x)(pixels))
    alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
    return Photo(pixels[..., :3], alpha, grey, bits, icc, block)


def said(error: Exception) -> str:
    """Return a reader's error as a few words, without the path that it may repeat."""
    text = reason(error)
    if "cannot identify" in text:
        return f"not a whole image of a format that we read ({', '.join(sorted(READ))})"
    return text


def check_header(image: Image.Image, path: Path, max_megapixels: float) -> None:
    """Refuse what is not one photograph of a size that we take, before any pixel is decoded."""
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        raise UserError(
            f"image '{path}' has {megapixels:.0f} megapixels ({image.width} x {image.height}), "
            f"more than --max-megapixels {max_megapixels:g}"
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's JPEG, previews behind the photograph
        raise UserError(f"image '{path}' holds {frames} pictures (animated or several pages), expected one")


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether a file, of which only the header has been read, has more than 8 bit per channel."""
    if image.format == "PNG":
        return any(str(tile[3]).endswith("16B") for tile in image.tile)
    return isinstance(image, TiffImagePlugin.TiffImageFile) and bool(
        np.max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, 1)) > 8
    )


def deep_pixels(path: Path) -> tuple[np.ndarray, int, bool]:
    """Read 16-bit and float files, of which PIL keeps 8 bit, as `shallow_pixels`."""
    raw = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is None:
        raise UserError(f"image '{path}' cannot be read: its 16-bit or float pixels are of an unknown kind")
    if raw.dtype == np.uint16:
        pixels = raw.astype(np.float32)
        pixels /= 65535  # in place: large photographs come through here
    elif np.issubdtype(raw.dtype, np.floating):
        if not np.isfinite(raw).all():
            raise UserError(f"image '{path}' holds NaN or infinite values")
        pixels = raw.astype(np.float32).clip(0, 1)
    else:
        raise UserError(f"image '{path}' holds {raw.dtype}, expected 8 or 16 bit, or floats in [0, 1]")
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2), 16, True
    order = [2, 1, 0, 3][: pixels.shape[2]]  # OpenCV's BGR(A)
    return pixels[..., order], 16, False


def shallow_pixels(image: Image.Image) -> tuple[np.ndarray, int, bool]:
    """Return an 8-bit image of any PIL mode as [H, W, 3 or 4] in [0, 1]; bits; whether it is grey."""
    grey = image.mode in ("1", "L", "LA", "La")
    has_alpha = image.has_transparency_data
    pixels = np.array(image.convert("RGBA" if has_alpha else "RGB"), np.float32)
    pixels /= 255
    return pixels, 8, grey


def format_of(path: Path) -> str:
    """Return Pillow's name of the format that a file's ending asks for, or raise `UserError`."""
    if path.suffix.lower() not in PHOTO_FORMATS:
        raise UserError(f"'{path}' has the ending '{path.suffix}' (known: {', '.join(PHOTO_FORMATS)})")
    return PHOTO_FORMATS[path.suffix.lower()]


def write_photo(path: Path, photo: Photo) -> None:
    """Write a photograph; the ending says the format. A format without alpha or 16 bit drops them.

    Raises:
        UserError: the ending is unknown, the format cannot hold the photograph (WebP: 16383 pixels a side, JPEG:
            65500), or the file cannot be written; what was there before is untouched.
    """
    file_format = format_of(path)
    pixels = photo.rgb.mean(axis=2, keepdims=True) if photo.grey else photo.rgb
    if photo.alpha is not None and file_format not in ("JPEG", "BMP"):
        pixels = np.concatenate((pixels, photo.alpha[..., None]), axis=2)
    deep = photo.bits == 16 and file_format in DEEP
    top, dtype = (65535, np.uint16) if deep else (255, np.uint8)
    pixels = np.round(pixels.clip(0, 1) * top).astype(dtype)
    try:
        content = encode_deep(pixels, photo, file_format) if deep else encode_shallow(pixels, photo, file_format)
    except (OSError, ValueError, cv2.error) as error:
        size = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise UserError(f"'{path}' cannot be written as {file_format} ({size}): {reason(error)}") from error
    with atomic_write(path) as file:
        file.write(content)


def encode_shallow(pixels: np.ndarray, photo: Photo, file_format: str) -> bytes:
    """Return [H, W, 1-4] uint8 as a file, with profile and EXIF."""
    options: dict[str, Any] = {"quality": QUALITY} if file_format in ("JPEG", "WEBP") else {}
    if photo.icc is not None:
        options["icc_profile"] = photo.icc
    if photo.exif is not None and file_format != "BMP":
        options["exif"] = photo.exif
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def encode_deep(pixels: np.ndarray, photo: Photo, file_format: str) -> bytes:
    """Return [H, W, 1-4] uint16 as a PNG file with profile and EXIF, or a TIFF file with its profile."""
    exif = Image.Exif()
    exif.load(photo.exif or b"")
    if file_format == "TIFF":
        buffer = io.BytesIO()
        colours = "minisblack" if pixels.shape[2] < 3 else "rgb"
        extra = ["unassalpha"] if pixels.shape[2] in (2, 4) else None
        squeezed = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        tags = [(PROCESSED_BY, ASCII, 0, exif[PROCESSED_BY], True)] if PROCESSED_BY in exif else []
        tifffile.imwrite(
            buffer, squeezed, photometric=colours, extrasamples=extra, iccprofile=photo.icc, extratags=tags
        )
        return buffer.getvalue()
    if pixels.shape[2] == 2:  # OpenCV has no grey with alpha
        pixels = pixels[..., [0, 0, 0, 1]]
    bgr = np.ascontiguousarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if pixels.shape[2] > 1 else pixels)
    block = photo.exif and photo.exif.removeprefix(b"Exif\0\0")  # JPEG's beginning
    metadata = {cv2.IMAGE_METADATA_ICCP: photo.icc, cv2.IMAGE_METADATA_EXIF: block}
    kept = {kind: np.frombuffer(content, np.uint8) for kind, content in metadata.items() if content}
    _, content = cv2.imencodeWithMetadata(".png", bgr, list(kept), list(kept.values()))
    return content.tobytes()
