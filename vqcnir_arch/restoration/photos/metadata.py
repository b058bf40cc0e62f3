"""What files say about a photograph beside its pixels: EXIF, XMP, texts, resolution."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from PIL import ExifTags, Image

TAGS = ExifTags.Base
PROCESSED_BY = TAGS.ProcessingSoftware
"""Tag of a result's line (`results`); cameras and editors leave it alone, and so does the result the camera's tags."""
TIFF_TAGS = {
    *(TAGS.Make, TAGS.Model, TAGS.DocumentName, TAGS.ImageDescription, TAGS.DateTime, TAGS.Artist, TAGS.Copyright),
    *(TAGS.Software, TAGS.ProcessingSoftware, TAGS.HostComputer, TAGS.Rating, TAGS.RatingPercent),
    *(TAGS.XPTitle, TAGS.XPComment, TAGS.XPAuthor, TAGS.XPKeywords, TAGS.XPSubject),
    *(TAGS.XResolution, TAGS.YResolution, TAGS.ResolutionUnit, TAGS.ExifOffset, TAGS.GPSInfo),
}
"""What is kept of a TIFF file's tags: most others say how its pixels are stored, which the result's are not."""
COMMENT = "Comment"
"""PNG's keyword for what is a comment in JPEG and GIF."""
TEXT_TAGS = {
    "Description": TAGS.ImageDescription,
    COMMENT: TAGS.ImageDescription,
    "Title": TAGS.ImageDescription,
    "Author": TAGS.Artist,
    "Copyright": TAGS.Copyright,
    "Software": TAGS.Software,
}
"""EXIF's tags for PNG's keywords, where a format has no texts and the tag is free."""
NOT_TEXT = re.compile(r"XML:com\.adobe\.xmp|Raw profile type (exif|APP1|xmp|icc|icm)")
"""Keywords of PNG under which programs put what Pillow gives by another name."""
INCH, CENTIMETRE = 2, 3  # EXIF's units of resolution
MAKER_NOTE = TAGS.MakerNote


@dataclass(frozen=True)
class Metadata:
    """What a file says about its photograph.

    Attributes:
        exif: EXIF block without orientation, or None.
        xmp: XMP packet, or None.
        text: texts by PNG's keywords; a comment of JPEG or GIF is "Comment".
        dpi: pixels per inch, horizontally and vertically, or None.
        lost: what the file has and could not be read, in words.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    text: Mapping[str, str] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None
    lost: tuple[str, ...] = ()

    def without(self, what: str) -> Metadata:
        """Return the metadata, with something more that is lost."""
        return replace(self, lost=(*self.lost, what))

    def made_by(self, maker: str) -> Metadata:
        """Return the metadata with the line that says what made the picture; other software's name stays."""
        exif = loaded(self.exif)
        exif[PROCESSED_BY] = maker
        exif.setdefault(TAGS.Software, maker)
        return replace(self, exif=exif.tobytes())


class AsRead(str):
    """A text of EXIF as Pillow reads it, a byte for each letter, that it writes as the same bytes and not as `?`."""

    def encode(self, encoding: str = "latin-1", errors: str = "strict") -> bytes:
        """Return the bytes that were read, whatever encoding Pillow asks for."""
        return super().encode("latin-1")

    @classmethod
    def of(cls, text: str) -> AsRead:
        """Return what is read of a text in UTF-8, as programs write it."""
        return cls(text.encode().decode("latin-1"))


def keep_texts(exif: Image.Exif) -> None:
    """Let Pillow write texts that are not ASCII, authors' names say, as they were read."""
    inner = (exif.get_ifd(TAGS.ExifOffset),) if TAGS.ExifOffset in exif else ()
    for entries in (exif, *inner):
        for tag, value in list(entries.items()):
            if isinstance(value, str) and not value.isascii():
                entries[tag] = AsRead(value)


def loaded(block: bytes | None) -> Image.Exif:
    """Return an EXIF block as Pillow's entries; without a block there are none, in little-endian order."""
    exif = Image.Exif()
    exif.load(block or b"")
    exif.endian = exif.endian or "<"
    keep_texts(exif)
    return exif


def read_metadata(image: Image.Image) -> tuple[Metadata, int]:
    """Return what an image, loaded by Pillow, says of itself, and its orientation by EXIF."""
    exif = image.getexif()
    orientation = exif.pop(TAGS.Orientation, 1)
    block, lost = exif_block(exif, is_tiff=image.format == "TIFF")
    texts = {COMMENT: as_text(image.info["comment"])} if image.info.get("comment") else {}
    texts |= {key: str(text) for key, text in getattr(image, "text", {}).items() if not NOT_TEXT.match(key)}
    xmp = image.info.get("xmp")
    dpi = image.info.get("dpi")
    if image.info.get("jfif_unit") == 0 or image.format == "TIFF":  # no unit; in TIFF's tags, which are kept
        dpi = None
    if dpi is not None and not (min(dpi) > 0 and max(dpi) < 1e6):
        dpi = None
    return Metadata(block, upright_xmp(xmp) if xmp else None, texts, dpi, lost), orientation


def exif_block(exif: Image.Exif, is_tiff: bool) -> tuple[bytes | None, tuple[str, ...]]:
    """Return EXIF entries as a block, or None where there are none, and what of them is lost."""
    if is_tiff:
        if str(exif.get(TAGS.ImageDescription, "")).startswith('{"shape"'):  # tifffile's, of how it stored the pixels
            del exif[TAGS.ImageDescription]
        for tag in set(exif) - TIFF_TAGS:
            del exif[tag]
    exif.bigtiff = False
    try:
        keep_texts(exif)
        return (exif.tobytes() if len(exif) else None), ()
    except Exception:  # types that no writer takes; the photograph is worth more than its EXIF
        return None, ("EXIF, which is broken",)


def as_text(comment: bytes | str) -> str:
    """Return a comment, which is UTF-8 or, from older programs, Latin-1."""
    if isinstance(comment, str):
        return comment
    try:
        return comment.decode()
    except UnicodeDecodeError:
        return comment.decode("latin-1")


def upright_xmp(xmp: bytes) -> bytes:
    """Return an XMP packet without what is not true of the result: orientation, and pictures behind the main one."""
    xmp = re.sub(rb"""(<tiff:Orientation>|\btiff:Orientation\s*=\s*["'])\d""", rb"\g<1>1", xmp)
    xmp = re.sub(rb"<Container:Directory>.*?</Container:Directory>", b"", xmp, flags=re.DOTALL)
    return re.sub(
        rb"""\s(hdrgm:\w+|GCamera:(MotionPhoto|MicroVideo)\w*)\s*=\s*("[^"]*"|'[^']*')""", b"", xmp
    )  # Android's gain map and motion photo


def exif_for(metadata: Metadata, width: int, height: int) -> Image.Exif:
    """Return the EXIF entries of a picture of a size; for some formats more is added to them."""
    exif = loaded(metadata.exif)
    if TAGS.ExifOffset in exif:
        inner = exif.get_ifd(TAGS.ExifOffset)
        for tag, pixels in ((TAGS.ExifImageWidth, width), (TAGS.ExifImageHeight, height)):
            if tag in inner:
                inner[tag] = pixels
    return exif


def resolution(metadata: Metadata) -> tuple[float, float] | None:
    """Return pixels per inch as the file or its EXIF says, or None."""
    if metadata.dpi is not None:
        return metadata.dpi
    exif = loaded(metadata.exif)
    unit = {INCH: 1, CENTIMETRE: 2.54}.get(exif.get(TAGS.ResolutionUnit, INCH))
    try:
        both = float(exif[TAGS.XResolution]), float(exif[TAGS.YResolution])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (both[0] * unit, both[1] * unit) if unit and min(both) > 0 and max(both) < 1e6 else None


def add_resolution(exif: Image.Exif, metadata: Metadata) -> None:
    """Put the resolution into EXIF for formats that have no place of their own."""
    if metadata.dpi is not None:
        exif[TAGS.XResolution], exif[TAGS.YResolution] = metadata.dpi
        exif[TAGS.ResolutionUnit] = INCH


def add_texts(exif: Image.Exif, texts: Mapping[str, str]) -> list[str]:
    """Put texts into EXIF for formats that have no place of their own; return those for which it has none."""
    lost = []
    for key, text in texts.items():
        tag, written = TEXT_TAGS.get(key), AsRead.of(text)
        if tag is None or exif.get(tag, written) != written:
            lost.append(f"text '{key}'")
        else:
            exif[tag] = written
    return lost


def within(exif: Image.Exif, limit: int) -> tuple[bytes, list[str]]:
    """Return EXIF entries as a block of at most so many bytes, and in words what had to be left out for that."""
    if len(block := exif.tobytes()) <= limit:
        return block, []
    inner = exif.get_ifd(TAGS.ExifOffset) if TAGS.ExifOffset in exif else {}
    notes = [entries.pop(MAKER_NOTE) for entries in (exif, inner) if MAKER_NOTE in entries]
    if notes and len(block := exif.tobytes()) <= limit:
        return block, ["the maker note of its EXIF"]
    least = Image.Exif()
    least.update({tag: exif[tag] for tag in (PROCESSED_BY, TAGS.Software) if tag in exif})
    return least.tobytes() if len(least) else b"", ["EXIF"]
