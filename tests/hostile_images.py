"""Makers of hostile and odd image files, for `vqcnir restore`: what is refused, and what must come through."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import tifffile
from odd_images import corrupt, encoded, turned, wide, with_alpha, with_thumbnail
from PIL import Image

PHOTO = skimage.data.chelsea()[60:100, 120:172].copy()
FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP"}
BROKEN_EXIF = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(40))
EXIF_WITH_BAD_TYPES = b"Exif\0\0" + struct.pack(
    ">2sHIHHHI4sHHII", b"MM", 42, 8, 2, 0x112, 2, 2, b"up", 0x10F, 99, 9, 2**32 - 1
)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, data: bytes = b"", *more: bytes) -> bytes:
    """Return a PNG of RGB with a header that may lie, chunks before the data, and the data, which is compressed."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def rows(width: int, height: int) -> bytes:
    return bytes(height * (3 * width + 1))


def jpeg_of_size(width: int, height: int) -> bytes:
    """Return a JPEG whose header names another size than its data have."""
    content = encoded(PHOTO, "JPEG")
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]


def bmp_of_size(width: int, height: int) -> bytes:
    content = encoded(PHOTO, "BMP")
    return content[:18] + struct.pack("<ii", width, height) + content[26:]


def tiff(*tags: tuple[int, int, int, int], following: int = 0, rest: bytes = b"") -> bytes:
    """Return a little-endian TIFF file of one directory: (tag, type, count, value) and where the next one stands."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<I", following) + rest


def tiff_of_size(width: int, height: int, following: int = 0) -> bytes:
    sizes = (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)
    return tiff(*sizes, (273, 4, 1, 110), (278, 4, 1, height), (279, 4, 1, 16), following=following, rest=bytes(16))


def tiff_array(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def deep_bomb() -> bytes:
    """Return a TIFF of 8 x 8 pixels of 16 bit, whose one deflated strip holds 30 MB."""
    pixels = np.zeros((8, 8, 3), np.uint16)
    packed = zlib.compress(bytes(3 * 10**7), 9)
    small = tiff_array(pixels, photometric="rgb", compression="zlib")
    with tifffile.TiffFile(io.BytesIO(small)) as file:
        (count,), tag = file.pages[0].databytecounts, file.pages[0].tags["StripByteCounts"]
        offset = file.pages[0].dataoffsets[0]
    assert tag.count == 1 and tag.dtype == 4 and offset + count == len(small)
    head = small[: tag.valueoffset] + struct.pack("<I", len(packed)) + small[tag.valueoffset + 4 :]
    return head[:offset] + packed


def deep_loop() -> bytes:
    """Return a TIFF of 16 bit whose first page says that it is the next one, too."""
    sizes = (256, 4, 1, 4), (257, 4, 1, 4), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1)
    strip = (273, 4, 1, 8 + 2 + 8 * 12 + 4), (278, 4, 1, 4), (279, 4, 1, 32)
    return tiff(*sizes, *strip, following=8, rest=bytes(range(32)))


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("photo.png", content)
    return buffer.getvalue()


def moving(kind: str) -> bytes:
    frames = [Image.fromarray(PHOTO), Image.fromarray(255 - PHOTO)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def refused_files() -> dict[str, bytes]:
    """Return the files that must be refused, by name."""
    files = {}
    for ending, kind in FORMATS.items():
        content = encoded(PHOTO, kind)
        for part in (1, 4, 8):
            files[f"cut{part}0.{ending}"] = content[: len(content) * part // 10]
    deep = wide(PHOTO)
    files |= {f"deep cut{part}0.png": deep[: len(deep) * part // 10] for part in (3, 9)}
    hundred = np.zeros((12, 12), np.float32)
    return files | {
        "bits turned.png": corrupt(encoded(PHOTO, "PNG")),
        "no data.png": png(20000, 20000),
        "no data.jpg": jpeg_of_size(20000, 20000),
        "no data.bmp": bmp_of_size(20000, 20000),
        "no data.tif": tiff_of_size(20000, 20000),
        "largest.png": png(2**31 - 1, 2**31 - 1),
        "largest.tif": tiff_of_size(2**32 - 1, 2**32 - 1),
        "below the limit.png": png(9900, 9900, bytes(99)),
        "below the limit.tif": tiff_of_size(9900, 9900),
        "bomb.png": png(20000, 20000, rows(20000, 999)),
        "profile bomb.png": png(8, 8, rows(8, 8), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))),
        "no size.png": png(0, 0),
        "no width.jpg": jpeg_of_size(0, 40),
        "nan.tif": tiff_array(hundred + np.nan),
        "infinite.tif": tiff_array(hundred + np.inf),
        "deep lab.tif": tiff_array(np.zeros((12, 12, 3), np.uint16), photometric="cielab"),
        "five samples.tif": tiff_array(np.zeros((12, 12, 5), np.uint16), photometric="rgb"),
        "levels.tif": tiff_array(hundred + 255),
        "cut deep.tif": tiff_array(np.zeros((12, 12, 3), np.uint16), photometric="rgb")[:-9],
        "cut deflated.tif": tiff_array(np.zeros((12, 12, 3), np.uint16), photometric="rgb", compression="zlib")[:-9],
        "deep bomb.tif": deep_bomb(),
        "integers.tif": tiff_array(hundred.astype(np.int32)),
        "complex.tif": tiff_array(hundred.astype(np.complex64)),
        "pages.tif": tiff_array(np.zeros((3, 12, 12), np.uint8), photometric="minisblack"),
        "no tags.tif": tiff(),
        "long tag.tif": tiff((256, 4, 2**31, 12), (257, 4, 2**31, 12)),
        "animated.png": moving("PNG"),
        "animated.webp": moving("WEBP"),
        "animated named.jpg": moving("GIF"),
        "empty.png": b"",
        "text.png": b"This is no picture.\n",
        "page.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
        "vector.png": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{ 0 pop } loop\n",
        "archive.png": zipped(bytes(10**7)),
        "garbage.png": np.random.default_rng(0).bytes(5000),
        "garbage.tiff": b"II*\0" + np.random.default_rng(1).bytes(5000),
        "garbage.bmp": b"BM" + np.random.default_rng(2).bytes(5000),
        "garbage.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 " + np.random.default_rng(3).bytes(5000),
        "garbage.jpg": b"\xff\xd8\xff\xe0" + np.random.default_rng(4).bytes(5000),
        "start.png": b"\x89PNG\r\n\x1a\n",
        "start.jpg": b"\xff\xd8",
        "zeros.webp": bytes(5000),
        "noise.dng": np.random.default_rng(6).bytes(5000),
        "more noise.nef": b"MM\0*" + np.random.default_rng(7).bytes(5000),
        "noise.avif": b"\0\0\0\x18ftypavif" + np.random.default_rng(8).bytes(5000),
        "some noise.heic": b"\0\0\0\x18ftypheic" + np.random.default_rng(9).bytes(5000),
        "web page.heic": b"<!DOCTYPE html><html><body>404</body></html>",
        "moving.gif": moving("GIF"),
        "bad tags.png": png(8, 8, rows(8, 8), chunk(b"cICP", bytes([7, 99, 3, 0]))),
        "garbage.mp4": np.random.default_rng(5).bytes(5000),
    }  # fmt: skip


def good_files() -> dict[str, bytes]:
    """Return the odd files that must come through, by name."""
    image, profile = Image.fromarray(PHOTO), b"no profile at all"
    palette, grey = image.quantize(16), PHOTO[..., 1].copy()
    ramp = np.linspace(0, 1, 40 * 52, dtype=np.float32).reshape(40, 52)
    files = {f"whole.{ending}": encoded(PHOTO, kind) for ending, kind in FORMATS.items() if ending != "jpg"}
    files |= {f"one pixel {kind}.{ending}": encoded(PHOTO[:1, :1], kind) for ending, kind in FORMATS.items()}
    for ending in ("png", "jpg", "webp", "tif"):
        files[f"broken profile.{ending}"] = encoded(PHOTO, FORMATS[ending], icc_profile=profile)
    return files | {
        "narrow.png": encoded(np.zeros((5000, 1, 3), np.uint8), "PNG"),
        "low.png": encoded(np.zeros((1, 5000, 3), np.uint8), "PNG"),
        "grey.png": encoded(grey, "PNG"),
        "deep grey.png": encoded(grey.astype(np.uint16) * 256, "PNG"),
        "deep.png": wide(PHOTO),
        "deep, alpha.png": cv2.imencode(".png", with_alpha(PHOTO).astype(np.uint16) * 256)[1].tobytes(),
        "grey, alpha.png": encoded(image.convert("LA"), "PNG"),
        "black and white.png": encoded(image.convert("1"), "PNG"),
        "palette.png": encoded(palette, "PNG"),
        "palette, alpha.png": encoded(palette, "PNG", transparency=3),
        "alpha.webp": encoded(with_alpha(PHOTO), "WEBP"),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "cmyk.tif": encoded(image.convert("CMYK"), "TIFF"),
        "lab.tif": encoded(image.convert("LAB"), "TIFF"),
        "floats.tif": tiff_array(ramp),
        "double.tif": tiff_array(ramp.astype(np.float64)),
        "half, planes.tif": tiff_array(np.stack([ramp] * 3).astype(np.float16), photometric="rgb"),
        "deep cmyk.tif": tiff_array((np.dstack([ramp] * 4) * 65535).astype(np.uint16), photometric="separated"),
        "photo.avif": encoded(PHOTO, "AVIF"),
        "photo.jfif": encoded(PHOTO, "JPEG"),
        "jpeg named.heic": encoded(PHOTO, "JPEG"),
        "no gamma.png": png(8, 8, rows(8, 8), chunk(b"gAMA", bytes(4)), chunk(b"cHRM", bytes(32))),
        "short tags.png": png(8, 8, rows(8, 8), chunk(b"cICP", b"\1")),
        "deep, big-endian.tif": tiff_array((ramp * 65535).astype(np.uint16), byteorder=">"),
        "deep loop of pages.tif": deep_loop(),
        "loop of pages.tif": tiff_of_size(4, 4, following=8),
        "packed.tif": encoded(image, "TIFF", compression="tiff_lzw"),
        "progressive.jpg": encoded(PHOTO, "JPEG", progressive=True),
        "on its side.jpg": turned(PHOTO, "JPEG"),
        "camera.jpg": with_thumbnail(PHOTO),
        "two pictures.jpg": encoded(image, "MPO", save_all=True, append_images=[image.resize((8, 8))]),
        "broken exif.jpg": encoded(PHOTO, "JPEG", exif=BROKEN_EXIF),
        "bad exif.jpg": encoded(PHOTO, "JPEG", exif=EXIF_WITH_BAD_TYPES),
        "broken exif.webp": encoded(PHOTO, "WEBP", exif=BROKEN_EXIF),
        "png named.jpg": encoded(PHOTO, "PNG"),
        "jpeg named.png": encoded(PHOTO, "JPEG"),
        "webp named.tif": encoded(PHOTO, "WEBP"),
        "one frame named.png": encoded(image, "GIF"),
        "more behind.jpg": encoded(PHOTO, "JPEG") + bytes(999),
        "too much data.png": png(8, 8, rows(8, 8) + bytes(10**8)),
        "unknown chunk.png": png(8, 8, rows(8, 8), chunk(b"abCd", bytes(99))),
        "ночь 夜.png": encoded(PHOTO, "PNG"),
        "LOUD.PNG": encoded(PHOTO, "PNG"),
    }  # fmt: skip


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write files into a new folder."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
