"""Small videos as cameras, phones and recorders write them, made with PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def picture(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Return smooth RGB, [H, W, 3] uint8, that differs from frame to frame and from corner to corner."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    rgb = np.stack((0.2 + 0.6 * x, 0.2 + 0.6 * y, np.full_like(x, (number % 8) / 10 + 0.1)), axis=-1)
    return (rgb * 255).astype(np.uint8)


def make_video(
    path: Path,
    count: int = 6,
    codec: str = "libx264",
    sounds: tuple[str, ...] = (),
    *,
    rate: int = 12,
    times: list[int] | None = None,
    clock: Fraction | None = None,
    size: tuple[int, int] = (48, 64),
    pix_fmt: str = "yuv420p",
    tags: tuple[int, int, int, int] = (2, 0, 2, 2),
    aspect: Fraction | None = None,
    rotation: int = 0,
    flip: bool = False,
    late: int = 0,
    metadata: dict[str, str] | None = None,
    chapters: bool = False,
    subtitles: str | None = None,
    container: str | None = None,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
) -> Path:
    """Write a video.

    Args:
        path: its ending says the container, unless that is named.
        count: frames.
        codec, options: encoder of the pictures.
        sounds: encoders of the sounds, each of a tone and a language of its own.
        rate: frames per second; `times` instead, in units of `clock`.
        size: height and width.
        pix_fmt: of the pictures, `tags` their matrix, range, primaries and transfer as FFmpeg's numbers.
        aspect: of a pixel.
        rotation, flip: of the display matrix.
        late: samples after which the sounds begin.
        metadata: of the file.
        chapters: whether there is one.
        subtitles: their codec; there is one.
        muxer: its options.
    """
    clock = clock or Fraction(1, rate)
    if codec == "libx265":  # with B-frames its MP4 cannot be written once in a hundred times
        options = {"x265-params": "log-level=none:bframes=0", **(options or {})}
    with av.open(str(path), "w", format=container, options=muxer or {}) as writer:
        writer.metadata.update(metadata or {})
        stream = writer.add_stream(codec, rate=rate, time_base=clock, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *size, pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = tags
        context.sample_aspect_ratio = aspect or Fraction(0, 1)
        if rotation or flip:
            stream.set_display_rotation(rotation, hflip=flip)
        tracks = [writer.add_stream(name, rate=48000) for name in sounds]
        for track, language in zip(tracks, ("eng", "deu", "fra"), strict=False):
            track.layout, track.bit_rate = "mono", 64000
            track.metadata["language"] = language
        texts = writer.add_mux_stream(subtitles, time_base=Fraction(1, 1000)) if subtitles else None
        if chapters:
            chapter = {"id": 1, "start": 0, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}}
            writer.set_chapters([chapter])
        for i, track in enumerate(tracks):
            write_sound(writer, track, count / rate, 300 * (i + 1), late)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i, *size))
            if tags[0] != 2:
                frame = frame.reformat(format=pix_fmt, dst_colorspace=tags[0], dst_color_range=tags[1])
            frame.pts, frame.time_base = times[i] if times else round(i / (rate * clock)), clock
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode())
        if texts is not None:
            packet = av.Packet(b"\0\5night" if subtitles == "mov_text" else b"night")
            packet.pts = packet.dts = 100
            packet.duration, packet.time_base, packet.stream = 200, Fraction(1, 1000), texts
            writer.mux(packet)
    return path


def write_sound(writer, track, seconds: float, tone: int, late: int) -> None:
    """Encode a tone."""
    wave = (np.sin(np.arange(round(seconds * 48000)) * tone * 2 * np.pi / 48000) * 8000).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48000, late, Fraction(1, 48000)
    resampler = av.AudioResampler(track.format, track.layout, track.rate, frame_size=track.frame_size or 1024)
    for part in (*resampler.resample(frame), *resampler.resample(None)):
        writer.mux(track.encode(part))
    writer.mux(track.encode())


def shown(path: Path) -> tuple[list[Fraction], list[av.VideoFrame]]:
    """Return the times of a video's frames in seconds, and the frames."""
    with av.open(str(path)) as reader:
        frames = list(reader.decode(video=0))
    return [frame.pts * frame.time_base for frame in frames], frames


def beside(path: Path) -> dict[int, list[tuple[Fraction, bytes]]]:
    """Return what a file holds beside its pictures, packets with their times by stream, but for MP4's empty texts."""
    packets: dict[int, list[tuple[Fraction, bytes]]] = {}
    with av.open(str(path)) as reader:
        for packet in reader.demux():
            if packet.stream is not reader.streams.video[0] and packet.pts is not None and bytes(packet) != b"\0\0":
                packets.setdefault(packet.stream.index, []).append((packet.pts * packet.time_base, bytes(packet)))
    return packets
