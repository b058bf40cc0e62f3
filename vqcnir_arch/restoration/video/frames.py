"""Reading a video: upright frames with their exact times, and where a file breaks off."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.video.containers import asf_length, open_video

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.filter import Graph
    from av.stream import Stream

STATES_LENGTH = ("matroska", "mov", "avi", "flv", "asf")
"""Demuxers that read a film's length in its header; others reckon it from what is there."""
MISSING = 0.5
"""Seconds, or two frames if they last longer, that may be missing of what the header promises."""
LONG_SOUND = 1.5
"""The same where packets of sound do not say how long they last, as WavPack's of a second."""


class Frame(NamedTuple):
    """A frame on its way through `restore_video`.

    Attributes:
        pts: when it is shown, in the clock of its stream.
        duration: for how long, in the same clock; 0: not known.
        time: when it is shown, in seconds.
        source: [H, W, 3], upright RGB, float32 in [0, 1].
        restored: the same, H and W times the network's scale.
    """

    pts: int
    duration: int
    time: float
    source: np.ndarray
    restored: np.ndarray


class Stage(NamedTuple):
    """Something between network and encoder that changes restored frames.

    Attributes:
        change: the frames of a video in their order to as many frames, with others in `restored`. It may look ahead.
        reach: how many frames before and after a frame its result depends on. A video that goes on where it stopped
            gives `change` so many frames again.
        name: what it is and its settings: a video that was begun with others begins anew.
    """

    change: Callable[[Iterator[Frame]], Iterator[Frame]]
    reach: int
    name: str


class VideoReader:
    """An open video.

    Attributes:
        picture: the stream of pictures.
        broken: None, or after `decoded` what is wrong with the file, and from where on.

    Args:
        path: the file.
        max_megapixels: larger frames are refused.

    Raises:
        UserError: no video, a broken header, or pictures that we cannot restore.
    """

    def __init__(self, path: Path, max_megapixels: float = math.inf) -> None:
        import av

        self.path = path
        self.broken: str | None = None
        self.filter: Graph | None = None
        try:
            self.file = open_video(path)
        except (av.FFmpegError, OSError) as error:
            raise UserError(f"video '{path}' cannot be read: {error.strerror}") from error
        try:
            self.picture = self.first_picture()
            megapixels = self.picture.width * self.picture.height / 1e6
            if megapixels > max_megapixels:
                size = f"{self.picture.width} x {self.picture.height}"
                raise UserError(f"video '{path}' has {size} pixels, more than --max-megapixels {max_megapixels:g}")
        except UserError:
            self.file.close()
            raise

    def first_picture(self) -> VideoStream:
        """Return the first stream of pictures that is no cover."""
        for stream in self.file.streams.video:
            if not is_cover(stream) and stream.codec_context is not None:
                return stream
        raise UserError(f"video '{self.path}' has no picture that can be decoded")

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    @property
    def clock(self) -> Fraction:
        """The unit of the frames' times, in seconds."""
        return self.picture.time_base or Fraction(1, 90000)

    @property
    def rate(self) -> Fraction:
        """Frames per second, on average."""
        return self.picture.average_rate or self.picture.guessed_rate or Fraction(25)

    @property
    def length(self) -> float:
        """Seconds from its start that the file says it has; 0: it does not say."""
        if self.is_avi:  # FFmpeg reckons by what is there
            return float(self.picture.frames / self.rate)
        if self.file.format.name == "asf" and self.file.duration is None:  # FFmpeg believes no header of a cut file
            return asf_length(self.path)
        length = (self.file.duration or 0) / 1e6
        counts_from_zero = self.file.format.name.startswith("matroska") and 0 < self.start < length
        return length - self.start if counts_from_zero else length

    @property
    def start(self) -> float:
        """The second at which the file starts."""
        return (self.file.start_time or 0) / 1e6

    @property
    def is_avi(self) -> bool:
        """Whether it is an AVI, which counts its frames and holds no times."""
        return self.file.format.name == "avi"

    @property
    def count(self) -> int | None:
        """About how many frames it has, where that is known."""
        return self.picture.frames or round(self.length * float(self.rate)) or None

    def decoded(self) -> Iterator[tuple[int, VideoFrame]]:
        """Decode all frames and yield each with its time, which grows; ends where the file does, see `broken`."""
        import av

        seen, last, end, fault = 0, None, 0.0, ""
        missing = max(MISSING, float(2 / self.rate))
        start, counted = self.start, deque[int | None]()
        try:
            for packet in self.file.demux():
                end = max(end, end_of(packet) - start)
                if packet.stream is not self.picture:
                    if packet.stream.type == "audio" and packet.size and not packet.duration:
                        missing = max(missing, LONG_SOUND)
                    continue
                if self.is_avi and packet.size:
                    counted.append(packet.dts)
                try:
                    frames = self.picture.decode(packet)
                except av.FFmpegError as error:
                    if counted:
                        counted.pop()
                    fault = fault or f"is damaged at {end_of(packet) - start:.2f} s ({error.strerror})"
                    continue
                for frame in frames[: len(counted)]:  # of frames that wait for others the decoder's times are not true
                    frame.pts = counted.popleft()
                for frame in self.deinterlaced(frames, is_last=packet.dts is None):
                    step = max(frame.duration or round(1 / (self.rate * self.clock)), 1)
                    pts = frame.pts if frame.pts is not None else last + step if last is not None else 0
                    if last is not None and (last - pts) * self.clock > 1:
                        fault = fault or f"has times that go back at {float(last * self.clock) - start:.2f} s"
                    last = pts if last is None or pts > last else last + 1
                    seen += 1
                    if frame.is_corrupt:
                        fault = fault or f"is damaged at {float(last * self.clock) - start:.2f} s"
                    yield last, frame
        except av.FFmpegError as error:
            fault = f"breaks off after frame {seen} ({error.strerror})"
        if self.file.format.name.startswith(STATES_LENGTH) and self.length - end > missing:
            fault = f"breaks off after frame {seen}, at {end:.2f} of {self.length:.2f} s"
        self.broken = fault or None

    def deinterlaced(self, frames: list[VideoFrame], is_last: bool) -> Iterator[VideoFrame]:
        """Yield frames of which each pair of fields is made one; the filter is one frame behind until the file ends."""
        if self.filter is None and frames and frames[0].interlaced_frame:
            self.filter = deinterlacer(self.picture)
        if self.filter is None:
            yield from frames
            return
        for frame in frames:
            self.filter.vpush(frame)
            yield from pulled(self.filter, self.clock)
        if is_last:
            self.filter.vpush(None)
            yield from pulled(self.filter, self.clock)


def is_cover(stream: Stream) -> bool:
    """Whether a stream is a single picture that stands for the file."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def end_of(packet: Packet[Stream]) -> float:
    """Return the second at which a packet ends; 0 for one without a time."""
    if packet.pts is None:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)


def deinterlacer(picture: VideoStream) -> Graph:
    """Return a filter that makes a frame of each interlaced one and leaves others."""
    from av.filter import Graph

    graph = Graph()
    parts = graph.add_buffer(template=picture), graph.add("bwdif", "mode=send_frame:deint=interlaced")
    graph.link_nodes(*parts, graph.add("buffersink")).configure()
    return graph


def pulled(graph: Graph, clock: Fraction) -> Iterator[VideoFrame]:
    """Yield what a filter has ready, with times in a clock: bwdif's own ticks twice as fast."""
    while True:
        try:
            frame = graph.vpull()
        except (BlockingIOError, EOFError):
            return
        unit = (frame.time_base or clock) / clock
        frame.pts, frame.duration = round((frame.pts or 0) * unit), round((frame.duration or 0) * unit)
        yield frame
