"""From pieces to a file: the restored pictures, and all else that the source has, as it is."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from vqcnir_arch.restoration.video.containers import COMMENT, Container, open_video
from vqcnir_arch.restoration.video.encoding import Encoding
from vqcnir_arch.restoration.video.frames import VideoReader, is_cover
from vqcnir_arch.restoration.video.pieces import Coded

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.stream import Stream

WRITTEN_ANEW = (
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "encoder-eng",
    "metadatacreator",
    "software",
)
"""Entries of a file that say how it was written, lower case; the result is written otherwise."""
TIMECODE = "timecode"
"""Entry of a stream of pictures for the time code of its first frame."""
OF_THE_STREAM = (
    "rotate", "duration", "encoder", "vendor_id", "alpha_mode", "bps", "number_of_frames", "number_of_bytes",
)  # fmt: skip
"""The same of a stream; mkvmerge's statistics are among them, with a language behind."""


def join(
    reader: VideoReader, file: BinaryIO, container: Container, encoding: Encoding, pictures: Iterator[Coded],
    comment: str | None,
) -> list[str]:  # fmt: skip
    """Write a result from its pictures and the other streams, chapters and entries of its source.

    Returns:
        What of the source the container cannot hold.
    """
    import av

    source, lost = reader.file, []
    with av.open(file, "w", format=container.format, options=container_options(container, source)) as writer:
        writer.metadata.update(entries_with(comment, source.metadata))
        streams: dict[int, Stream] = {}
        taken: list[Stream] = []
        for stream in source.streams:
            if stream is reader.picture:
                target: Stream = encoding.add_to(writer)
            elif is_chapter_track(stream, source) or is_timecode_track(stream):
                continue
            elif not holds(container, [*taken, stream]):
                lost.append(described(stream))
                continue
            else:
                taken.append(stream)
                target = writer.add_stream_from_template(stream, opaque=True)
            target.metadata.update(entries_of(stream))
            target.disposition = stream.disposition
            streams[stream.index] = target
        if source.chapters():
            writer.set_chapters(source.chapters())
        writer.start_encoding()
        own = streams.pop(reader.picture.index)
        for packet in heapq.merge(
            picture_packets(pictures, own, encoding.clock), copied_packets(source, streams), key=begin_of
        ):
            writer.mux(packet)
    return lost


def entries_with(comment: str | None, entries: dict[str, str]) -> dict[str, str]:
    """Return a source's title, date and other entries for its result, whose line stands before a comment."""
    kept = {key: value for key, value in entries.items() if key.lower() not in WRITTEN_ANEW}
    if comment is not None:
        own = [kept.pop(key) for key in list(kept) if key.lower() == COMMENT]
        kept[COMMENT] = "\n".join((comment, *own))
    return kept


def container_options(container: Container, source: InputContainer) -> dict[str, str]:
    """Return the muxer's options."""
    options = {"fflags": "+bitexact"}  # no random identifiers: the same input gives the same file
    if container.format in ("mp4", "mov") and any(key.startswith("com.") for key in source.metadata):
        options["movflags"] = "+use_metadata_tags"  # a phone's entries have names of their own
    return options


def is_chapter_track(stream: Stream, source: InputContainer) -> bool:
    """Whether a stream is how MP4 and MOV hold the titles of chapters, which are copied as chapters."""
    return stream.type == "data" and stream.name == "bin_data" and 0 < stream.frames == len(source.chapters())


def is_timecode_track(stream: Stream) -> bool:
    """Whether a stream is how MP4 and MOV hold a time code: an entry of the pictures, from which it is written."""
    return stream.type == "data" and TIMECODE in stream.metadata


def holds(container: Container, streams: Sequence[Stream]) -> bool:
    """Whether a container takes streams as they are, all together: its header is tried."""
    import av

    try:
        with av.open(io.BytesIO(), "w", format=container.format) as trial:
            for stream in streams:
                trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def described(stream: Stream) -> str:
    """Name a stream: `subtitle stream 3 (dvb_subtitle)`."""
    codec = stream.codec_context.name if stream.codec_context is not None else getattr(stream, "name", None)
    kind = {"audio": "sound", "video": "picture"}.get(stream.type, stream.type)
    return f"{kind} stream {stream.index}{f' ({codec})' if codec else ''}"


def entries_of(stream: Stream) -> dict[str, str]:
    """Return the entries of a stream that hold for the result's."""
    return {
        key: value
        for key, value in stream.metadata.items()
        if key.lower().partition("-")[0] not in OF_THE_STREAM and not key.startswith("_STATISTICS")
    }


def picture_packets(pictures: Iterator[Coded], stream: Stream, clock: Fraction) -> Iterator[Packet[Stream]]:
    """Yield the restored pictures' packets."""
    import av

    for coded in pictures:
        packet = av.Packet(coded.data)
        packet.pts = packet.dts = coded.pts
        packet.duration, packet.is_keyframe = coded.duration, coded.is_key
        packet.time_base, packet.stream = clock, stream
        yield packet


def copied_packets(source: InputContainer, streams: dict[int, Stream]) -> Iterator[Packet[Stream]]:
    """Yield the packets of the other streams, decoding times growing; ends where the file does."""
    import av

    wanted = [source.streams[index] for index in streams if source.streams[index].type != "attachment"]
    if not wanted:
        return
    last: dict[int, int] = {}
    try:
        for packet in source.demux(*wanted):
            index = packet.stream.index
            begin = packet.dts if packet.dts is not None else packet.pts
            if begin is None and packet.size and is_cover(packet.stream):
                begin = 0
            if begin is None:
                continue
            last[index] = packet.dts = max(begin, last.get(index, begin - 1) + 1)
            packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
            packet.stream = streams[index]
            yield packet
    except av.FFmpegError:
        return  # where it breaks off was noted when its frames were read


def begin_of(packet: Packet[Stream]) -> Fraction:
    """Return when a packet is decoded, in seconds."""
    return (packet.dts or 0) * packet.time_base


def missing_entries(source: VideoReader, target: Path) -> list[str]:
    """Return what of a source's title, date and other entries, and of its chapters, its written result lacks."""
    with open_video(target) as result:
        there = {key.lower() for key in result.metadata}
        lost = [
            f"entry '{key}'" for key in source.file.metadata
            if key.lower() not in {*there, *WRITTEN_ANEW, COMMENT}
        ]  # fmt: skip
        if len(source.file.chapters()) > len(result.chapters()):
            lost.append("chapters")
    return lost
