"""PNG files with what Pillow and OpenCV do not write: texts, resolution, HDR colours, also at 16 bit."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

from vqcnir_arch.restoration.photos.metadata import PROCESSED_BY, exif_for, resolution
from vqcnir_arch.restoration.photos.photo import Photo

XMP = "XML:com.adobe.xmp"
HEADER = 8 + 25
"""Bytes of a PNG's signature and first chunk."""


def encode_png(pixels: np.ndarray, photo: Photo) -> bytes:
    """Return [H, W, 1-4], uint8 or uint16, as a PNG file with all that the photograph says of itself."""
    height, width = pixels.shape[:2]
    plain = deep(pixels) if pixels.dtype == np.uint16 else shallow(pixels)
    metadata = photo.metadata
    exif = exif_for(metadata, width, height)
    texts = {**({"Software": exif[PROCESSED_BY]} if PROCESSED_BY in exif else {}), **metadata.text}
    chunks = []
    if photo.cicp is not None:
        chunks.append(chunk(b"cICP", photo.cicp))
    if photo.icc is not None:
        chunks.append(chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(photo.icc)))
    if (dpi := resolution(metadata)) is not None:
        chunks.append(chunk(b"pHYs", struct.pack(">IIB", *(round(number / 0.0254) for number in dpi), 1)))  # per metre
    if len(exif):
        chunks.append(chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    chunks += [text_chunk(key, text.encode()) for key, text in texts.items()]
    if metadata.xmp is not None:
        chunks.append(text_chunk(XMP, metadata.xmp))
    return b"".join((plain[:HEADER], *chunks, plain[HEADER:]))


def shallow(pixels: np.ndarray) -> bytes:
    """Return [H, W, 1-4], uint8, as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def deep(pixels: np.ndarray) -> bytes:
    """Return [H, W, 1-4], uint16, as a PNG file, which Pillow does not write."""
    if pixels.shape[2] == 2:  # OpenCV has no grey with alpha
        pixels = pixels[..., [0, 0, 0, 1]]
    bgr = np.ascontiguousarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if pixels.shape[2] > 1 else pixels)
    return cv2.imencode(".png", bgr)[1].tobytes()


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk: its length, kind, content and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def text_chunk(key: str, text: bytes) -> bytes:
    """Return a text, UTF-8, under a keyword."""
    return chunk(b"iTXt", key.encode("latin-1", "replace") + bytes(5) + text)
