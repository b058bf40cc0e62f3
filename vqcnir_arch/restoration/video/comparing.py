"""A video's source beside its result, as a video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from vqcnir_arch.atomic_files import atomic_write
from vqcnir_arch.restoration.photos import resized
from vqcnir_arch.restoration.video.containers import container_of
from vqcnir_arch.restoration.video.encoding import encoded
from vqcnir_arch.restoration.video.frames import Frame, VideoReader
from vqcnir_arch.restoration.video.joining import join
from vqcnir_arch.restoration.video.look import upright
from vqcnir_arch.restoration.video.planning import plan


def compare_videos(source: Path, result: Path, comparison: Path, comment: str | None = None) -> None:
    """Write the frames of a video beside those of its result, with the result's sound.

    Args:
        source: the video; where it is smaller than the result it is enlarged bicubically.
        result: its restored frames.
        comparison: video to write, in the result's container.
        comment: what its metadata says of it.

    Raises:
        UserError: it cannot be written.
    """
    container = container_of(comparison)
    before, _ = plan(source, container)
    after, encoding = plan(result, container)

    def pairs() -> Iterator[Frame]:
        with VideoReader(source) as sources, VideoReader(result) as results:
            for (_, old), (pts, new) in zip(sources.decoded(), results.decoded(), strict=False):
                image = upright(new, after)
                pair = np.concatenate((resized(upright(old, before), image), image), axis=1)
                yield Frame(pts, new.duration or 0, float(pts * results.clock), image, pair)

    pieces = encoded(pairs(), replace(encoding, width=2 * encoding.width))
    with VideoReader(result) as reader, atomic_write(comparison) as file:
        packets = (packet for _, piece in pieces for packet in piece)
        join(reader, file, container, replace(encoding, width=2 * encoding.width), packets, comment)
