"""Colour tags that are no profile (gAMA and cHRM of PNG, cICP, nclx of AVIF and HEIC) as a profile that says the same.

So one thing, `Photo.icc`, tells every format what the numbers of a file mean. Numbers of tags: ITU-T H.273.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqcnir_arch.errors import UserError

Chromaticities = tuple[float, ...]
"""x and y of white, red, green, blue."""
D65 = (0.3127, 0.3290)
SRGB: Chromaticities = (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB,
    5: (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),  # BT.601, 625 lines
    6: (*D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),  # BT.601, 525 lines
    7: (*D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # DCI-P3
    12: (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
SRGB_CURVE = None
CURVES: dict[int, float | None] = {**dict.fromkeys((1, 6, 13, 14, 15), SRGB_CURVE), 4: 2.2, 5: 2.8, 8: 1.0}
"""Exponent of the transfer function by its number; those of video are shown as sRGB's."""
UNSPECIFIED = 2
HDR = {16: "PQ", 18: "HLG"}
"""Transfer functions of which no profile of primaries and curves can tell."""
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50 = np.array([0.9642, 1.0, 0.8249])


class Colours(NamedTuple):
    """What tags say: a profile, None for sRGB, or the four numbers of HDR colours."""

    icc: bytes | None = None
    cicp: bytes | None = None


def png_colours(path: Path, icc: bytes | None, grey: bool) -> Colours:
    """Read the colour chunks of a PNG: `cICP` counts before a profile (`icc`), `sRGB` and `gAMA` with `cHRM`."""
    chunks = {}
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
            size, kind = struct.unpack(">I4s", head)
            if kind in (b"cICP", b"sRGB", b"gAMA", b"cHRM"):
                chunks[kind] = file.read(size)
                size = 0
            file.seek(size + 4, 1)
    if len(chunks.get(b"cICP", b"")) == 4:
        return from_cicp(chunks[b"cICP"], path, grey)
    if icc is not None or b"sRGB" in chunks:
        return Colours(icc)
    gamma = int.from_bytes(chunks.get(b"gAMA", b""), "big") / 1e5 or 1 / 2.2
    corners = np.frombuffer(chunks.get(b"cHRM", b""), ">u4") / 1e5
    known = len(corners) == 8 and corners.min() > 0 and corners.max() < 1
    primaries = tuple(map(float, corners)) if known else SRGB
    return Colours(profile(primaries, SRGB_CURVE if abs(gamma * 2.2 - 1) < 0.02 else 1 / gamma, grey))


def box_colours(path: Path, icc: bytes | None, grey: bool) -> Colours:
    """Read the `nclx` box of an AVIF or HEIC file, which counts where there is no profile."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    place = head.find(b"colrnclx")
    if icc is not None or place < 0 or len(head) < place + 15:
        return Colours(icc)
    primaries, transfer, _ = struct.unpack(">HHH", head[place + 8 : place + 14])
    return from_cicp(bytes([primaries & 255, transfer & 255, 0, 1]), path, grey)  # the decoder's RGB is of full range


def from_cicp(cicp: bytes, path: Path, grey: bool) -> Colours:
    """Turn the numbers of primaries, transfer function, matrix and range into a profile, or keep them if HDR.

    Raises:
        UserError: the numbers are unknown, or of colours that are not RGB of full range.
    """
    primaries, transfer, matrix, full = cicp
    if transfer in HDR and matrix == 0 and full:
        return Colours(cicp=cicp)
    corners = SRGB if primaries == UNSPECIFIED else PRIMARIES.get(primaries)
    if corners is None or (transfer != UNSPECIFIED and transfer not in CURVES) or matrix or not full:
        raise UserError(f"image '{path}' has colour tags that are not read (cICP {'/'.join(map(str, cicp))})")
    return Colours(profile(corners, CURVES.get(transfer, SRGB_CURVE), grey))


def profile(corners: Chromaticities, exponent: float | None, grey: bool = False) -> bytes | None:
    """Return an ICC profile (version 4, ISO 15076-1) of primaries and a curve, or None where that is sRGB.

    Args:
        corners: chromaticities of white and the primaries.
        exponent: light is the number to this power; None: sRGB's curve.
        grey: a profile for one channel, which knows no primaries.
    """
    srgb = grey or np.allclose(corners, SRGB, atol=0.002)
    if srgb and exponent is SRGB_CURVE:
        return None
    white = xyz(corners[0], corners[1])
    adapted = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ white)) @ BRADFORD
    primaries = np.stack([xyz(corners[i], corners[i + 1]) for i in (2, 4, 6)], axis=1)
    columns = adapted @ (primaries * np.linalg.solve(primaries, white))
    numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045) if exponent is None else (exponent,)
    curve = b"para\0\0\0\0" + struct.pack(">HH", 3 if exponent is None else 0, 0) + fixed(numbers)
    tags = {
        b"desc": said("Colours as tagged"),
        b"cprt": said("CC0"),
        b"wtpt": b"XYZ \0\0\0\0" + fixed(D50),
        b"chad": b"sf32\0\0\0\0" + fixed(adapted.ravel()),
    }
    if grey:
        tags[b"kTRC"] = curve
    else:
        tags |= {
            name + b"XYZ": b"XYZ \0\0\0\0" + fixed(column)
            for name, column in zip((b"r", b"g", b"b"), columns.T, strict=True)
        }
        tags |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    table, content = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, start + len(content), len(value))
        content += value.ljust((len(value) + 3) // 4 * 4, b"\0")
    head = struct.pack(
        ">I4sI4s4s4s6H4s", start + len(content), bytes(4), 0x04200000, b"mntr", b"GRAY" if grey else b"RGB ", b"XYZ ",
        2024, 1, 1, 0, 0, 0, b"acsp",
    )  # fmt: skip
    return head.ljust(68, b"\0") + fixed(D50) + bytes(48) + table + content


def xyz(x: float, y: float) -> np.ndarray:
    """Return chromaticities as XYZ of Y = 1."""
    return np.array([x / y, 1.0, (1 - x - y) / y])


def fixed(numbers: np.ndarray | tuple[float, ...]) -> bytes:
    """Return numbers as ICC's s15Fixed16."""
    return b"".join(struct.pack(">i", round(float(number) * 65536)) for number in numbers)


def said(text: str) -> bytes:
    """Return an English text as ICC's multiLocalizedUnicode."""
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", 2 * len(text), 28) + text.encode("utf-16-be")
