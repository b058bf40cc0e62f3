"""What a video's first frame decides: how its frames are shown, how the result is encoded, and what cannot be kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.video.colours import LIMITED, UNKNOWN, untagged
from vqcnir_arch.restoration.video.containers import Container
from vqcnir_arch.restoration.video.encoder import Encoding, codec_for, sampling_for
from vqcnir_arch.restoration.video.frames import Look, VideoReader, look_of

if TYPE_CHECKING:
    from av import VideoFrame

GLOBAL_HEADER = 0x40  # libavformat's AVFMT_GLOBALHEADER


def plan(
    source: Path, container: Container, scale: int, max_megapixels: float, announce: Callable[[str], object]
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
    from av import ContainerFormat

    with VideoReader(source, max_megapixels) as reader:
        first = next(reader.decoded(), None)
        if first is None:
            fault = f": it {reader.broken}" if reader.broken else ""
            raise UserError(f"video '{source}' has no frame that can be read{fault}")
        frame = first[1]
        try:
            look = look_of(frame, reader.picture)
        except UserError as error:
            raise UserError(f"video '{source}' cannot be restored: {error}") from error
        height, width = (
            scale * n for n in ((look.width, look.height) if look.is_turned else (look.height, look.width))
        )
        colours = look.colours
        if not container.is_tagged:
            colours = replace(colours, matrix=untagged(height), range=LIMITED, primaries=UNKNOWN, transfer=UNKNOWN)
        codec = codec_for(container, colours)
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
            tag="hvc1" if codec == "libx265" and container.format in ("mp4", "mov") else None,
        )
    for line in not_kept(frame, look):
        announce(f"{source}: {line}")
    return look, encoding


def not_kept(frame: VideoFrame, look: Look) -> list[str]:
    """Say what of a video's pictures is lost, or is as no network here has seen it."""
    lines = []
    if look.colours.hdr is not None:
        lines.append(f"{look.colours.hdr} (HDR) is kept as it is coded; the networks have seen other pictures alone")
    return lines
