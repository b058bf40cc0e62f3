"""Small videos as cameras, phones and recorders write them, made with PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def picture(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Return smooth RGB, [H, W, 3] uint8, that differs from frame to frame and from corner to corner."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    return (
        np.stack((0.2 + 0.6 * x, 0.2 + 0.6 * y, np.full_like(x, (number % 8) / 10 + 0.1)), -1).__mul__(255).astype("u1")
    )


def make_video(
    path: Path, count: int = 6, codec: str = "libx264", sounds: tuple[str, ...] = (), times: list[int] | None = None,
    clock: Fraction | None = None, size: tuple[int, int] = (48, 64), pix_fmt: str = "yuv420p", matrix: int = 2,
    colour_range: int = 0, primaries: int = 2, transfer: int = 2, options: dict[str, str] | None = None,
    rotation: int = 0, flip: bool = False, aspect: Fraction | None = None, metadata: dict[str, str] | None = None,
    chapters: bool = False, cover: bool = False, subtitles: bool = False, rate: int = 12, container: str | None = None,
    fps: bool = False, late: int = 0,
) -> Path:  # fmt: skip
    """Write a video of `count` frames; sounds are encoders' names, each of a tone and a language of its own."""
    with av.open(str(path), "w", format=container) as writer:
        writer.metadata.update(metadata or {})
        clock = clock or Fraction(1, rate)
        stream = writer.add_stream(codec, rate=rate, time_base=clock, options=options or {})
        stream.height, stream.width, stream.pix_fmt = size[0], size[1], pix_fmt
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, colour_range
        stream.codec_context.color_primaries, stream.codec_context.color_trc = primaries, transfer
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation or flip:
            stream.set_display_rotation(rotation, hflip=flip)
        tracks = [writer.add_stream(name, rate=48000) for name in sounds]
        for track, language in zip(tracks, ("eng", "deu", "fra"), strict=False):
            track.metadata["language"] = language
            track.layout, track.bit_rate = "mono", 64000
        texts = writer.add_mux_stream("subrip", time_base=Fraction(1, 1000)) if subtitles else None
        if chapters:
            whole = {"start": 0, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}}
            writer.set_chapters([{"id": 1, **whole}])
        for i, track in enumerate(tracks):
            write_sound(writer, track, count / rate, 300 * (i + 1), late)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i, *size))
            frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix if matrix != 2 else None)
            frame.pts, frame.time_base = (times[i] if times else i * round(1 / (rate * clock))), clock
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode())
        if texts is not None:
            packet = av.Packet(b"night")
            packet.pts = packet.dts = 100
            packet.duration, packet.time_base, packet.stream = 200, Fraction(1, 1000), texts
            writer.mux(packet)
    return path


def write_sound(writer, track, seconds: float, tone: int, late: int = 0) -> None:
    """Encode a tone."""
    resampler = av.AudioResampler(track.format, track.layout, track.rate, frame_size=track.frame_size or 1024)
    total = round(seconds * 48000)
    wave = (np.sin(np.arange(total) * tone * 2 * np.pi / 48000) * 8000).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48000, late, Fraction(1, 48000)
    for part in (*resampler.resample(frame), *resampler.resample(None)):
        writer.mux(track.encode(part))
    writer.mux(track.encode())
