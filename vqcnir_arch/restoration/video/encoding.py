"""How restored frames are encoded: the same settings always, so that pieces that were encoded apart join.

Without B-frames: packets stand in the order of their frames, so times stay exact in every container.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from vqcnir_arch.restoration.video.colours import Colours, from_rgb
from vqcnir_arch.restoration.video.containers import Container
from vqcnir_arch.restoration.video.frames import Frame
from vqcnir_arch.restoration.video.pieces import PIECE, Coded

if TYPE_CHECKING:
    from av import Packet, VideoCodecContext, VideoStream
    from av.container import OutputContainer

OPTIONS = {
    "libx264": {"crf": "17", "bf": "0", "mbtree": "0"},  # with it, x264 encodes small frames differently each time
    "libx265": {"crf": "17"},
    "libvpx-vp9": {"crf": "20", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    "libsvtav1": {"crf": "20", "preset": "8"},
    "mpeg4": {"flags": "+qscale", "global_quality": "236"},  # 118 times a quantiser of 2
    "wmv2": {"flags": "+qscale", "global_quality": "236"},
    "ffv1": {},
}
"""Options by encoder: quality that a further compression hardly shows against, at a speed beside a network's."""
SAMPLINGS = {"libsvtav1": ("420",), "mpeg4": ("420",), "wmv2": ("420",)}
"""Samplings that an encoder takes, where it does not take all."""
FREE_SIZES = ("libvpx-vp9", "libsvtav1", "mpeg4", "wmv2", "ffv1")
"""Encoders that take odd sizes with halved colours, too."""
FOR_ODD_WIDTH = {"wmv2": "mpeg4"}
"""Which encoder takes the place of one that takes no odd width at all."""


@dataclass(frozen=True)
class Encoding:
    """All that an encoder is told.

    Attributes:
        codec: FFmpeg's name of the encoder.
        width, height: of the frames.
        colours: of the frames, `sampling` as it is encoded.
        clock: unit of times in seconds.
        rate: frames per second, on average.
        aspect: width of a pixel by its height.
        is_global: whether the container wants headers once and not in each piece.
        tag: FourCC, where a container's players want a certain one.
        light: x265's words for the mastering display and light levels of HDR.
    """

    codec: str
    width: int
    height: int
    colours: Colours
    clock: Fraction
    rate: Fraction
    aspect: Fraction
    is_global: bool
    tag: str | None = None
    light: str = ""

    @property
    def pix_fmt(self) -> str:
        """FFmpeg's name of the pixels' format."""
        return f"yuv{self.colours.sampling}p{'10le' if self.colours.bits == 10 else ''}"

    def options(self) -> dict[str, str]:
        """Return the encoder's options."""
        options = dict(OPTIONS[self.codec])
        if self.codec == "libx265":
            options["x265-params"] = f"log-level=none:bframes=0:repeat-headers={int(not self.is_global)}{self.light}"
        return options

    def apply(self, target: VideoCodecContext | VideoStream) -> None:
        """Set an encoder up that is not open yet."""
        from av.codec.context import Flags

        context: Any = getattr(target, "codec_context", target)
        context.width, context.height, context.pix_fmt = self.width, self.height, self.pix_fmt
        # MPEG-4 counts time in less than 1/65535 s: nearly the same unit; packets get theirs back when they are joined
        context.time_base = self.clock.limit_denominator(65535) if self.codec == "mpeg4" else self.clock
        context.framerate = self.rate
        context.sample_aspect_ratio = self.aspect
        context.colorspace, context.color_range = self.colours.matrix, self.colours.range
        context.color_primaries, context.color_trc = self.colours.primaries, self.colours.transfer
        context.options = self.options()
        context.flags = context.flags | Flags.global_header if self.is_global else context.flags & ~Flags.global_header
        if self.tag is not None:
            context.codec_tag = self.tag

    def open(self) -> VideoCodecContext:
        """Return an encoder for a piece."""
        import av

        be_quiet()
        context = cast("VideoCodecContext", av.CodecContext.create(self.codec, "w"))
        self.apply(context)
        context.open()
        return context

    def add_to(self, writer: OutputContainer) -> VideoStream:
        """Return a new stream of a file for packets of these encoders."""
        be_quiet()
        stream = cast("VideoStream", writer.add_stream(self.codec, rate=self.rate, time_base=self.clock))
        self.apply(stream)
        return stream


def encoded(frames: Iterator[Frame], encoding: Encoding) -> Iterator[tuple[int, list[Coded]]]:
    """Encode frames in pieces; yield the number of each piece's frames, and its packets."""
    while True:
        encoder, durations = encoding.open(), dict[int, int]()
        packets: list[Packet[VideoStream]] = []
        for frame in islice(frames, PIECE):
            durations[frame.pts] = frame.duration
            picture = from_rgb(frame.restored, encoding.colours, encoding.pix_fmt)
            picture.pts, picture.time_base = frame.pts, encoder.time_base
            packets += encoder.encode(picture)
        if not durations:
            return
        packets += encoder.encode(None)
        yield len(durations), [coded(packet, durations) for packet in packets]


def coded(packet: Packet[VideoStream], durations: dict[int, int]) -> Coded:
    """Return an encoder's packet with its frame's time and duration."""
    pts = cast("int", packet.pts)
    return Coded(pts, durations[pts], packet.is_keyframe, bytes(packet))


def sampling_for(codec: str, wanted: str, width: int, height: int) -> str:
    """Return the sampling of the colours: the source's, unless the encoder or an odd size asks for another."""
    halves_width, halves_height = wanted != "444", wanted == "420"
    odd = (halves_width and width % 2) or (halves_height and height % 2)
    sampling = "444" if odd and codec not in FREE_SIZES else wanted
    taken = SAMPLINGS.get(codec, (sampling,))
    return sampling if sampling in taken else taken[0]


def codec_for(container: Container, colours: Colours, width: int) -> str:
    """Return the encoder of a container for 8 or 10 bit and a width."""
    codec = container.deep if colours.bits == 10 else container.shallow
    return FOR_ODD_WIDTH.get(codec, codec) if width % 2 else codec


def be_quiet() -> None:
    """Keep SVT-AV1, which prints its settings, to errors."""
    os.environ.setdefault("SVT_LOG", "1")
