"""TIFF files that Pillow does not read or cuts to 8 bit, by tifffile."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import tifffile
from PIL import Image

from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.photos.metadata import Metadata, exif_block, upright_xmp


class Kind(NamedTuple):
    """Colours of a file: a name, how many samples they take, and what makes RGB or grey in [0, 1] of them."""

    name: str
    samples: int
    rgb: Callable[[np.ndarray, Any], np.ndarray]


def from_cmyk(values: np.ndarray, page: Any) -> np.ndarray:
    """Return the light that inks leave, [..., 4] to [..., 3]; a profile of a press is not applied, as Pillow's."""
    return (1 - values[..., :3]) * (1 - values[..., 3:])


def from_ycbcr(values: np.ndarray, page: Any) -> np.ndarray:
    """Return RGB of luma and colour differences, with the file's coefficients and levels (TIFF 6.0, section 21)."""
    red, green, blue = tag_fractions(page, 529, (0.299, 0.587, 0.114))
    top = 2**page.bitspersample - 1
    half = 2 ** (page.bitspersample - 1)
    levels = np.array(tag_fractions(page, 532, (0, top, half, top, half, top)), np.float32) / top
    luma = (values[..., 0] - levels[0]) / (levels[1] - levels[0])
    cb, cr = ((values[..., i] - levels[2 * i]) / (levels[2 * i + 1] - levels[2 * i]) / 2 for i in (1, 2))
    r, b = luma + cr * (2 - 2 * red), luma + cb * (2 - 2 * blue)
    return np.stack((r, (luma - blue * b - red * r) / green, b), axis=-1)


def from_palette(values: np.ndarray, page: Any) -> np.ndarray:
    """Return the colours of indices; `values` are indices / the highest one."""
    colours = np.asarray(page.colormap, np.float32).T / 65535
    return colours[np.round(values[..., 0] * (len(colours) - 1)).astype(np.intp)]


KINDS = {
    0: Kind("white is zero", 1, lambda values, page: 1 - values),
    1: Kind("grey", 1, lambda values, page: values),
    2: Kind("RGB", 3, lambda values, page: values),
    3: Kind("palette", 1, from_palette),
    5: Kind("CMYK", 4, from_cmyk),
    6: Kind("YCbCr", 3, from_ycbcr),
}
"""What is read, by the tag PhotometricInterpretation."""
NAMES = {
    4: "a mask",
    8: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32803: "a camera's raw data",
    34892: "a camera's raw data",
}
ASSOCIATED, UNASSOCIATED = 1, 2
"""Values of the tag ExtraSamples: colours multiplied by the alpha, or not."""
YCBCR, JPEG, WEBP = 6, 7, 50001
"""Values of the tags PhotometricInterpretation and Compression."""
BRIGHT, OVERSHOOT = 1.1, 0.01
"""Share of float values beyond this level that still counts as lights to be clipped."""
STREAMS: dict[int, Callable[[], Any]] = {8: zlib.decompressobj, 32946: zlib.decompressobj, 34925: lzma.LZMADecompressor}
"""Compressions that tifffile expands without a bound where imagecodecs is missing."""


class Page(NamedTuple):
    """The first page of a TIFF file: pixels [H, W, 3 or 4], bits, whether grey, orientation, profile, metadata."""

    pixels: np.ndarray
    bits: int
    grey: bool
    orientation: int
    icc: bytes | None
    metadata: Metadata


def is_beyond_pillow(path: Path) -> bool:
    """Whether Pillow does not read all of a TIFF file; False, too, for what tifffile does not open."""
    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages.first
            is_unknown = page.compression == WEBP or (page.photometric == YCBCR and page.compression == 1)
            return int(np.max(page.bitspersample)) > 8 or len(page.extrasamples) > 1 or is_unknown
    except Exception:  # Pillow, which then reads the file, says what is wrong with it
        return False


def is_raw(path: Path) -> bool:
    """Whether a TIFF file is a DNG, which says so in a tag."""
    try:
        with tifffile.TiffFile(path) as file:
            return "DNGVersion" in file.pages.first.tags
    except Exception:  # as above
        return False


def picture_count(path: Path) -> int:
    """Return how many pictures a TIFF file holds beside smaller copies; 0 for what tifffile does not open."""
    try:
        with tifffile.TiffFile(path) as file:
            return full_pages(file)
    except Exception:  # as above
        return 0


def full_pages(file: tifffile.TiffFile) -> int:
    """Return the number of pages that are no smaller copies of others; those behind the first thousand don't count."""
    found: dict[int, bool] = {}
    pages: Any = file.pages
    for page in pages:
        if page.offset in found or len(found) == 1000:  # a loop of pages
            break
        found[page.offset] = not page.is_reduced
    return max(1, sum(found.values()))


def text_tag(path: Path, code: int) -> str:
    """Return a tag of a TIFF file's first page as text; empty where it has none."""
    with tifffile.TiffFile(path) as file:
        return str(getattr(file.pages.first.tags.get(code), "value", ""))


def read_tiff(path: Path, max_megapixels: float) -> Page:
    """Read a TIFF file of one page: 8 to 16 bit or floats in [0, 1], any planar configuration and kind of alpha.

    Colours that are multiplied by their alpha are divided by it.

    Raises:
        UserError: it is larger than `max_megapixels`, or of a kind that is not read, which the line names.
    """
    with path.open("rb") as handle, tifffile.TiffFile(handle) as file:
        page: Any = file.pages.first
        megapixels = page.imagewidth * page.imagelength / 1e6
        if megapixels > max_megapixels:
            raise UserError(
                f"image '{path}' has {megapixels:.0f} megapixels ({page.imagewidth} x {page.imagelength}), "
                f"more than --max-megapixels {max_megapixels:g}"
            )
        if not page.imagewidth * page.imagelength:
            raise refusal(path, "has no pixels")
        if (pictures := full_pages(file)) > 1:
            raise UserError(f"image '{path}' holds {pictures} pictures (several pages), expected one")
        kind, alpha = kind_of(page, path)
        values = scaled(samples(page, file, path), page, path)
        rgb = values[..., : kind.samples]
        transparency = values[..., kind.samples :][..., :1] if alpha else values[..., :0]
        if alpha == ASSOCIATED:
            rgb = np.divide(rgb, transparency, out=np.zeros_like(rgb), where=transparency > 0)
        rgb = kind.rgb(rgb, page).clip(0, 1)
        if grey := rgb.shape[2] == 1:
            rgb = np.repeat(rgb, 3, axis=2)
        metadata = tiff_metadata(file, handle)
        orientation = getattr(page.tags.get("Orientation"), "value", 1)
        icc = page.iccprofile
        if icc is not None and kind.name == "CMYK":
            icc, metadata = None, metadata.without("the profile of its CMYK colours")
        bits = 8 if page.dtype.itemsize == 1 else 16
    pixels = np.concatenate((rgb, transparency), axis=2, dtype=np.float32)
    return Page(pixels, bits, grey, int(orientation), icc, metadata)


def refusal(path: Path, what: str) -> UserError:
    """Return the error for a file that is whole, but not of a kind that we read."""
    return UserError(f"image '{path}' is a TIFF file, but {what}")


def kind_of(page: Any, path: Path) -> tuple[Kind, int]:
    """Return a page's colours, and what its alpha is: 0 for none."""
    known = ", ".join(kind.name for kind in KINDS.values())
    if page.photometric not in KINDS:
        name = NAMES.get(page.photometric, f"of photometric interpretation {int(page.photometric)}")
        raise refusal(path, f"its colours are {name}, expected {known}")
    kind = KINDS[page.photometric]
    extra = page.samplesperpixel - kind.samples
    if page.imagedepth != 1:
        raise refusal(path, f"has a depth of {page.imagedepth} pictures, expected one")
    if page.photometric == 5 and getattr(page.tags.get("InkSet"), "value", 1) != 1:
        raise refusal(path, "its inks are others than CMYK")
    if page.photometric == YCBCR and page.compression != JPEG and page.subsampling not in (None, (1, 1)):
        raise refusal(path, "its colours are halved and not compressed as JPEG, which is not read")
    if extra not in (0, 1):
        expected = f"{kind.samples} ({kind.name}), or one more for alpha"
        raise refusal(path, f"has {page.samplesperpixel} samples per pixel, expected {expected}")
    if not extra:
        return kind, 0
    said = page.extrasamples[0] if page.extrasamples else UNASSOCIATED
    return kind, int(said) if said in (ASSOCIATED, UNASSOCIATED) else 0


def samples(page: Any, file: tifffile.TiffFile, path: Path) -> np.ndarray:
    """Return a page's samples as they are stored, [H, W, S].

    Raises:
        UserError: the file is cut, or nothing that is installed can decompress it.
    """
    size = file.filehandle.size
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if len(parts) < np.prod(page.chunked) or any(not count or offset + count > size for offset, count in parts):
        raise UserError(f"image '{path}' cannot be read: truncated, not all of its pixels are there")
    if page.compression in tifffile.TIFF.DECOMPRESSORS:
        if page.compression in STREAMS:
            check_expansion(page, file, path)
        try:
            array = page.asarray()
        except NotImplementedError as error:  # sizes of samples that only imagecodecs unpacks
            raise needs_imagecodecs(page, path) from error
    else:
        array = by_opencv(page, path)
    if page.samplesperpixel > 1 and page.planarconfig == 2:
        return np.moveaxis(array.reshape(page.samplesperpixel, page.imagelength, page.imagewidth), 0, 2)
    return array.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)


def check_expansion(page: Any, file: tifffile.TiffFile, path: Path) -> None:
    """Refuse a file whose compressed parts hold more than their pixels: 50 MB of zeros can hide 50 GB."""
    most = int(np.prod(page.chunks)) * page.dtype.itemsize + 1
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.filehandle.seek(offset)
        if len(STREAMS[page.compression]().decompress(file.filehandle.read(count), most)) == most:
            raise UserError(f"image '{path}' cannot be read: its compressed data are larger than its pixels")


def by_opencv(page: Any, path: Path) -> np.ndarray:
    """Decode what needs imagecodecs otherwise (LZW): OpenCV gives the samples as stored, but blue first."""
    raw = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    kinds = (0, 1, 2)  # with others it computes
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
    if raw is None or raw.dtype != page.dtype or raw.size != np.prod(shape) or page.photometric not in kinds:
        raise needs_imagecodecs(page, path)
    raw = raw.reshape(shape)[..., [2, 1, 0, 3][: shape[2]] if shape[2] > 2 else slice(None)]
    return np.moveaxis(raw, 2, 0) if page.samplesperpixel > 1 and page.planarconfig == 2 else raw


def needs_imagecodecs(page: Any, path: Path) -> UserError:
    """Return the error for what only imagecodecs decodes."""
    compression = getattr(page.compression, "name", page.compression)
    what = f"has {page.bitspersample} bit per sample" if page.compression == 1 else f"is compressed by {compression}"
    return refusal(path, f"{what}, which needs imagecodecs: pip install 'vqcnir[tiff]'")


def scaled(array: np.ndarray, page: Any, path: Path) -> np.ndarray:
    """Return samples as float32 in [0, 1]."""
    bits = page.bitspersample
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise UserError(f"image '{path}' holds NaN or infinite values")
        if (array > BRIGHT).mean() > OVERSHOOT:
            raise refusal(path, f"holds floats up to {array.max():g}, expected [0, 1]")
        return array.astype(np.float32).clip(0, 1)
    if array.dtype.kind != "u" or not isinstance(bits, int) or bits > 16:
        raise refusal(path, f"holds {array.dtype} samples, expected 8 to 16 bit, or floats in [0, 1]")
    values = array.astype(np.float32)
    values /= 2**bits - 1  # in place: large photographs come through here
    return values


def tag_fractions(page: Any, code: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """Return a tag of fractions, which tifffile gives as numerators and denominators, as numbers."""
    tag = page.tags.get(code)
    if tag is None:
        return default
    return tuple(over / under for over, under in zip(tag.value[::2], tag.value[1::2], strict=True))


def tiff_metadata(file: tifffile.TiffFile, handle: Any) -> Metadata:
    """Return what a TIFF file says of its photograph in tags, EXIF and XMP."""
    exif = Image.Exif()
    exif.endian, exif.bigtiff = file.byteorder, file.is_bigtiff
    page: Any = file.pages.first
    try:
        exif.load_from_fp(handle, page.offset)
        block, lost = exif_block(exif, is_tiff=True)
    except Exception:  # as of `exif_block`
        block, lost = None, ("EXIF, which is broken",)
    xmp = page.tags.get(700)
    return Metadata(block, upright_xmp(bytes(xmp.value)) if xmp is not None else None, lost=lost)
