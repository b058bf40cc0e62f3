"""Kinds of photographs: what is read, what is written and what that can hold, and what a file is by its content."""

from __future__ import annotations

from pathlib import Path

from PIL import features

from vqcnir_arch.errors import UserError
from vqcnir_arch.names import OTHER_PHOTOS, PHOTO_FORMATS, RAW_ENDINGS

HOLDS = {
    "PNG": {"16 bit", "transparency", "profile", "EXIF", "XMP", "text", "resolution", "HDR"},
    "JPEG": {"profile", "EXIF", "XMP", "resolution"},
    "WEBP": {"transparency", "profile", "EXIF", "XMP"},
    "TIFF": {"16 bit", "transparency", "profile", "EXIF", "XMP"},
    "AVIF": {"transparency", "profile", "EXIF", "XMP"},
    "BMP": {"resolution"},
}
"""What a result of a format can say beside its colours in 8 bit."""


def written_ending(path: Path) -> str:
    """Return the ending of a photograph's result: its own where we write that, else what it becomes."""
    return path.suffix if path.suffix.lower() in PHOTO_FORMATS else OTHER_PHOTOS.get(path.suffix.lower(), ".png")


def format_of(path: Path) -> str:
    """Return Pillow's name of the format that a file's ending asks for, or raise `UserError`."""
    if path.suffix.lower() not in PHOTO_FORMATS:
        raise UserError(f"'{path}' has the ending '{path.suffix}' (known: {', '.join(PHOTO_FORMATS)})")
    name = PHOTO_FORMATS[path.suffix.lower()]
    if name == "AVIF" and not features.check("avif"):
        raise UserError(f"'{path}' cannot be written: this Pillow was built without AVIF")
    return name


def content_kind(path: Path) -> str:
    """Return the name of a photograph's format by how the file begins, whatever its ending says.

    It is "RAW" for a camera's raw data, which are often TIFF files in their beginning, and empty for what is unknown.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if head[4:8] == b"ftyp":
        return box_kind(head)
    for kind, signature in SIGNATURES:
        if head.startswith(signature) and (kind != "WEBP" or head[8:12] == b"WEBP"):
            return kind
    raw = path.suffix.lower() in RAW_ENDINGS
    return "RAW" if raw else "TIFF" if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")) else ""


SIGNATURES = (
    ("JPEG", b"\xff\xd8\xff"),
    ("PNG", b"\x89PNG\r\n\x1a\n"),
    ("WEBP", b"RIFF"),
    ("BMP", b"BM"),
    ("GIF", b"GIF8"),
)


def box_kind(head: bytes) -> str:
    """Tell the formats that are ISO base media files by the brands in their first box."""
    brands = {head[8:12], *(head[i : i + 4] for i in range(16, min(int.from_bytes(head[:4], "big"), 64), 4))}
    if b"crx " in brands:
        return "RAW"
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIF" if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"} else ""
