"""What a video's first frame decides: how its frames are shown, how the result is encoded, and what cannot be kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.video.colours import LIMITED, UNKNOWN, untagged
from vqcnir_arch.restoration.video.containers import Container
from vqcnir_arch.restoration.video.encoding import Encoding, codec_for, sampling_for
from vqcnir_arch.restoration.video.frames import VideoReader
from vqcnir_arch.restoration.video.look import Look, look_of

if TYPE_CHECKING:
    from av import VideoFrame

DYNAMIC = {"DOVI_METADATA": "Dolby Vision", "DYNAMIC_HDR_PLUS": "HDR10+"}
"""Light levels that change from frame to frame, by FFmpeg's name."""
GLOBAL_HEADER = 0x40  # libavformat's AVFMT_GLOBALHEADER


def plan(
    source: Path,
    container: Container,
    scale: int = 1,
    max_megapixels: float = math.inf,
    announce: Callable[[str], object] = lambda line: None,
) -> tuple[Look, Encoding]:
    """Decide by its first frame how a video is shown and how its result is encoded.

    Args:
        source: video.
        container: of the result.
        scale: of the network.
        max_megapixels: larger frames are refused.
        announce: called with a line for each property of the pictures that is not kept.

    Raises:
        UserError: no frame can be decoded, or its colours are of an unknown kind.
    """
    from av import ContainerFormat, FFmpegError

    with VideoReader(source, max_megapixels) as reader:
        first = next(reader.decoded(), None)
        if first is None:
            fault = f": it {reader.broken}" if reader.broken else ""
            raise UserError(f"video '{source}' has no frame that can be read{fault}")
        frame = first[1]
        try:
            look = look_of(frame, reader.picture, reader.filter is not None)
        except UserError as error:
            raise UserError(f"video '{source}' cannot be restored: {error}") from error
        height, width = (
            scale * n for n in ((look.width, look.height) if look.is_turned else (look.height, look.width))
        )
        colours = look.colours
        if not container.is_tagged:
            colours = replace(colours, matrix=untagged(height), range=LIMITED, primaries=UNKNOWN, transfer=UNKNOWN)
        codec = codec_for(container, colours, width)
        sampling = sampling_for(codec, colours.sampling, width, height)
        encoding = Encoding(
            codec,
            width,
            height,
            replace(colours, sampling=sampling),
            reader.clock,
            reader.rate,
            look.aspect,
            is_global=bool(ContainerFormat(container.format, "w").flags & GLOBAL_HEADER),
            light=light_of(frame) if codec == "libx265" else "",
            tag="hvc1" if codec == "libx265" and container.format in ("mp4", "mov") else None,
        )
        try:
            encoding.open()  # before time is spent on frames
        except FFmpegError as error:
            size = f"{width} x {height}"
            raise UserError(f"video '{source}' cannot be restored: {codec} encodes no frames of {size}") from error
        has_alpha = any(part.is_alpha for part in frame.format.components) or "1" in (
            reader.picture.metadata.get("alpha_mode"),
            reader.picture.metadata.get("ALPHA_MODE"),
        )
    for line in not_kept(frame, look, encoding, has_alpha):
        announce(f"{source}: {line}")
    return look, encoding


def not_kept(frame: VideoFrame, look: Look, encoding: Encoding, has_alpha: bool) -> list[str]:
    """Say what of a video's pictures is lost, or is as no network here has seen it."""
    lines = []
    if look.colours.hdr is not None:
        lines.append(f"{look.colours.hdr} (HDR) is kept as it is coded; the networks have seen other pictures alone")
    if look.is_interlaced:
        lines.append("is interlaced: each two fields become a frame")
    if frame.format.components[0].bits > 10:
        lines.append(f"of {frame.format.components[0].bits} bit 10 are kept")
    if has_alpha:
        lines.append("transparency is not kept")
    lines += [f"{name} is not kept" for kind, name in DYNAMIC.items() if frame.side_data.get(kind) is not None]
    if encoding.codec != "libx265" and light_of(frame):
        lines.append("the light levels of its HDR are not kept")
    return lines


def light_of(frame: VideoFrame) -> str:
    """Return x265's words for the mastering display and light levels that an HDR frame carries; empty without."""
    words = ""
    display: Any = frame.side_data.get("MASTERING_DISPLAY_METADATA")
    if display is not None:
        numbers = np.frombuffer(display, np.int32)[:20].reshape(10, 2)  # AVMasteringDisplayMetadata: 10 fractions
        *points, low, high = numbers[:, 0] / numbers[:, 1]
        r_x, r_y, g_x, g_y, b_x, b_y, w_x, w_y = (round(50000 * point) for point in points)
        light = f"L({round(10000 * high)},{round(10000 * low)})"
        words += f":master-display=G({g_x},{g_y})B({b_x},{b_y})R({r_x},{r_y})WP({w_x},{w_y}){light}"
    levels: Any = frame.side_data.get("CONTENT_LIGHT_LEVEL")
    if levels is not None:
        words += ":max-cll={},{}".format(*np.frombuffer(levels, np.uint32)[:2])
    return words
