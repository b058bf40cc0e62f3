"""Videos frame by frame through PyAV (extra `[video]`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from vqcnir_arch.atomic_files import atomic_write
from vqcnir_arch.errors import UserError

VIDEO_ENDINGS = (".mp4", ".mov", ".mkv", ".avi", ".webm")
COMMENT = "comment"
"""Entry of a container's metadata for a result's line."""


def is_video(path: Path) -> bool:
    """Whether a file's ending is that of a video."""
    return path.suffix.lower() in VIDEO_ENDINGS


def restore_video(
    source: Path, target: Path, restore: Callable[[np.ndarray], np.ndarray], comment: str | None = None
) -> int:
    """Restore every frame of a video's first video stream; sound is copied.

    Args:
        source: video.
        target: video to write, H.264.
        restore: frame [H, W, 3] uint8 RGB to the restored one.
        comment: what the new file's metadata says of it.

    Returns:
        The number of frames.

    Raises:
        UserError: PyAV is not installed, or the file is broken or no video; nothing is written then.
    """
    try:
        import av
    except ImportError as error:
        raise UserError("videos need PyAV: pip install 'vqcnir[video]'") from error
    frames = 0
    try:
        with av.open(str(source)) as reader, atomic_write(target) as file:
            if not reader.streams.video:
                raise UserError(f"video '{source}' has no picture")
            pictures, sound = reader.streams.video[0], next(iter(reader.streams.audio), None)
            with av.open(file, "w", format=container(target)) as writer:
                if comment is not None:
                    writer.metadata[COMMENT] = comment
                output = writer.add_stream("libx264", rate=pictures.average_rate, options={"crf": "17"})
                output.pix_fmt = "yuv420p"
                copied = writer.add_stream_from_template(sound) if sound else None
                for packet in reader.demux(*filter(None, (pictures, sound))):
                    if copied is not None and packet.stream is sound:
                        if packet.dts is not None:
                            packet.stream = copied
                            writer.mux(packet)
                        continue
                    for frame in pictures.decode(packet):
                        restored = restore(frame.to_ndarray(format="rgb24"))
                        # H.264 with 4:2:0 colours takes even sizes
                        restored = restored[: restored.shape[0] // 2 * 2, : restored.shape[1] // 2 * 2]
                        if not frames:
                            output.height, output.width = restored.shape[:2]
                        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(restored), format="rgb24")
                        picture.pts, picture.time_base = frame.pts, frame.time_base
                        writer.mux(output.encode(picture))
                        frames += 1
                writer.mux(output.encode())
            if not frames:
                raise UserError(f"video '{source}' has no frame that can be read")
    except av.FFmpegError as error:
        raise UserError(f"video '{source}' cannot be restored: {error.strerror}") from error
    return frames


def video_comment(path: Path) -> str:
    """Return the comment in a video's metadata; empty where there is none, the file is broken or PyAV is missing."""
    try:
        import av
    except ImportError:  # `restore_video` says so
        return ""
    try:
        with av.open(str(path)) as reader:
            return {name.lower(): text for name, text in reader.metadata.items()}.get(COMMENT, "")
    except av.FFmpegError:  # a broken file is refused when it is restored
        return ""


def container(path: Path) -> str:
    """Return FFmpeg's name of a container by its ending."""
    return {".mkv": "matroska", ".webm": "matroska"}.get(path.suffix.lower(), path.suffix.lower()[1:])
