"""Pixels of video frames as float RGB and back, by the matrix and range that a file is tagged with.

libswscale changes the sampling of the colours and the bits alone; its conversion to RGB is off by up to three of 255.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vqcnir_arch.errors import UserError

if TYPE_CHECKING:
    from av import VideoFrame

UNKNOWN, LIMITED, FULL = 2, 1, 2
"""FFmpeg's values: a tag that is not set; ranges of 16...235 and of 0...255."""
BT709, BT470BG, BT601, BT2020 = 1, 5, 6, 9
"""FFmpeg's values of matrices."""
LUMA = {
    BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),
    BT470BG: (0.299, 0.114),
    BT601: (0.299, 0.114),
    7: (0.212, 0.087),
    BT2020: (0.2627, 0.0593),
}
"""K_R and K_B of Y = K_R R + (1 - K_R - K_B) G + K_B B, by FFmpeg's value of the matrix (H.273, table 4)."""
HD_ROWS = 720
"""From so many rows on players take an untagged video as BT.709, below as BT.601."""
HDR = {16: "PQ", 18: "HLG"}
"""FFmpeg's values of transfer functions of high dynamic range."""


@dataclass(frozen=True)
class Colours:
    """What the numbers of a video's pixels mean, and how they are sampled.

    Attributes:
        matrix, range, primaries, transfer: FFmpeg's values; the first two are never unknown.
        bits: per channel, 8 or 10; more become 10.
        sampling: `420`, `422` or `444`.
    """

    matrix: int
    range: int
    primaries: int
    transfer: int
    bits: int
    sampling: str

    @property
    def hdr(self) -> str | None:
        """PQ, HLG or None."""
        return HDR.get(self.transfer)


def colours_of(frame: VideoFrame) -> Colours:
    """Return the colours of a decoded frame; where it has no tags, as players take it.

    Raises:
        UserError: the matrix is one that we do not compute (YCgCo, ICtCp, constant luminance).
    """
    kind = frame.format
    matrix = untagged(frame.height) if is_rgb(frame) or frame.colorspace in (0, UNKNOWN) else int(frame.colorspace)
    if matrix not in LUMA:
        raise UserError(f"its colours are coded by matrix {matrix} of H.273, known are {', '.join(map(str, LUMA))}")
    # grey without a tag is of full range for FFmpeg, and so for what is made with it
    full = frame.color_range == FULL or kind.name.startswith("yuvj" if frame.color_range else ("yuvj", "gray"))
    whole = (16, 16)
    chroma = whole if is_rgb(frame) or len(kind.components) < 3 else (kind.chroma_width(16), kind.chroma_height(16))
    return Colours(
        matrix=matrix,
        range=FULL if full and not is_rgb(frame) else LIMITED,
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        bits=8 if max(part.bits for part in kind.components) <= 8 else 10,
        sampling="444" if chroma == whole else "422" if chroma == (8, 16) else "420",
    )


def untagged(rows: int) -> int:
    """Return the matrix that players take for a video without tags."""
    return BT709 if rows >= HD_ROWS else BT601


def is_rgb(frame: VideoFrame) -> bool:
    """Whether a frame holds red, green and blue, or a palette of them."""
    return frame.format.is_rgb or frame.format.has_palette


def to_rgb(frame: VideoFrame) -> np.ndarray:
    """Return a decoded frame as RGB, [H, W, 3], float32 in [0, 1]."""
    if is_rgb(frame):
        return frame.to_ndarray(format="rgb48le").astype(np.float32) / 65535
    colours, bits = colours_of(frame), frame.format.components[0].bits
    # one range on both sides, that of the format's name where it has one: the numbers are shifted, not converted
    declared = FULL if frame.format.name.startswith(("yuvj", "gray")) else LIMITED
    yuv = frame.to_ndarray(
        format="yuv444p16le", src_color_range=declared, dst_color_range=declared, interpolation=smooth()
    ).astype(np.float32)
    black, white, swing = levels(colours.range, bits)
    y = (yuv[..., 0] - black) / (white - black)
    b, r = ((yuv[..., i] - 32768) / swing for i in (1, 2))  # E'_CB and E'_CR, from -1/2 to 1/2
    k_r, k_b = LUMA[colours.matrix]
    red, blue = y + 2 * (1 - k_r) * r, y + 2 * (1 - k_b) * b
    green = (y - k_r * red - k_b * blue) / (1 - k_r - k_b)
    return np.stack((red, green, blue), axis=-1).clip(0, 1)


def from_rgb(rgb: np.ndarray, colours: Colours, pix_fmt: str) -> VideoFrame:
    """Return RGB, [H, W, 3], float in [0, 1], as a frame to encode."""
    import av

    k_r, k_b = LUMA[colours.matrix]
    black, white, swing = levels(colours.range, colours.bits)
    red, green, blue = np.moveaxis(rgb.astype(np.float32), -1, 0)
    y = k_r * red + (1 - k_r - k_b) * green + k_b * blue
    b, r = (blue - y) / (2 * (1 - k_b)), (red - y) / (2 * (1 - k_r))
    yuv = np.stack((black + y * (white - black), 32768 + b * swing, 32768 + r * swing), axis=-1)
    step = 1 << 16 - colours.bits  # rounded here: libswscale would cut what is left
    rounded = (np.round(yuv / step).clip(0, 2**colours.bits - 1) * step).astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(rounded, format="yuv444p16le")
    frame = frame.reformat(format=pix_fmt, src_color_range=LIMITED, dst_color_range=LIMITED, interpolation=smooth())
    frame.colorspace, frame.color_range = colours.matrix, colours.range
    frame.color_primaries, frame.color_trc = colours.primaries, colours.transfer
    return frame


def levels(colour_range: int, bits: int) -> tuple[float, float, float]:
    """Return black, white and the swing of the colours in samples of `bits` that stand in the upper bits of 16."""
    if colour_range == LIMITED:
        return 16 * 256, 235 * 256, 224 * 256
    top = (2**bits - 1) << (16 - bits)
    return 0, top, top


def smooth() -> int:
    """Return how libswscale enlarges and shrinks the colours."""
    from av.video.reformatter import Interpolation

    return Interpolation.BICUBIC | Interpolation.ACCURATE_RND
