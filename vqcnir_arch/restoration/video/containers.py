"""Containers: which endings are videos, what their results are written as, and the line that a result carries."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vqcnir_arch.errors import UserError

if TYPE_CHECKING:
    from av.container import InputContainer

COMMENT = "comment"
"""Entry of a container's metadata for a result's line."""


class Container(NamedTuple):
    """A container that results are written as.

    Attributes:
        ending: of the result.
        format: FFmpeg's name.
        shallow, deep: FFmpeg's encoders for 8 and for 10 bit.
        is_tagged: whether it, or what is in it, says how colours are coded.
    """

    ending: str
    format: str
    shallow: str = "libx264"
    deep: str = "libx265"
    is_tagged: bool = True


KEPT = {
    container.ending: container
    for container in (
        Container(".mp4", "mp4"),
        Container(".m4v", "mp4"),
        Container(".mov", "mov"),
        Container(".qt", "mov"),
        Container(".mkv", "matroska"),
        Container(".webm", "webm", "libvpx-vp9", "libsvtav1"),
        Container(".avi", "avi", "mpeg4", "ffv1", is_tagged=False),
        Container(".wmv", "asf", "wmv2", "ffv1", is_tagged=False),
        Container(".asf", "asf", "wmv2", "ffv1", is_tagged=False),
        Container(".flv", "flv", "libx264", "libx264"),
        Container(".f4v", "f4v", "libx264", "libx264"),
    )
}
"""Containers that results keep: they hold these codecs as players expect it, and the line that marks a result.

H.264 in AVI and ASF is read one frame late, the others are not.
"""
OTHERS = {".3gp": ".mov", ".3g2": ".mov"}
"""What results of other containers are, if not Matroska, which holds nearly all sound and subtitles, but no AMR."""
VIDEO_ENDINGS = (
    *KEPT, *OTHERS, ".ts", ".mts", ".m2ts", ".m2t", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".vob", ".ogv",
    ".ogm", ".dv", ".mxf", ".divx", ".rm", ".rmvb", ".mk3d", ".mj2", ".nut", ".y4m", ".mjpeg", ".mjpg", ".h264", ".264",
    ".h265", ".265", ".hevc", ".vc1", ".ivf", ".obu", ".amv", ".trp", ".tod", ".mod", ".dav",
)  # fmt: skip

LISTS = {"concat", "hls", "dash", "imf", "sdp", "rtsp"}
"""FFmpeg's names of formats that are lists of other files, which a video from somebody else must not open."""
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
"""Identifier of the part of an ASF file's header that says its length."""


def is_video(path: Path) -> bool:
    """Whether a file's ending is that of a video."""
    return path.suffix.lower() in VIDEO_ENDINGS


def result_ending(path: Path) -> str:
    """Return the ending of a video's result: its own, or that of another container where its own is not written."""
    return path.suffix if path.suffix.lower() in KEPT else OTHERS.get(path.suffix.lower(), ".mkv")


def container_of(target: Path) -> Container:
    """Return how a result is written, by its ending.

    Raises:
        UserError: the ending is not that of a container that is written.
    """
    found = KEPT.get(target.suffix.lower())
    if found is None:
        raise UserError(f"'{target}' has the ending '{target.suffix}', videos are written as {', '.join(KEPT)}")
    return found


def open_video(path: Path) -> InputContainer:
    """Open a video; whatever stands in it or in its name, other files and addresses are not opened.

    Raises:
        av.FFmpegError: it cannot be opened.
    """
    import av

    # of a relative path, FFmpeg takes what stands before a colon as a protocol
    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(sorted(av.formats_available - LISTS))}
    return av.open(str(path.absolute()), container_options=options, metadata_errors="replace")


def video_comment(path: Path) -> str:
    """Return the comment in a video's metadata; empty where there is none, the file is broken or PyAV is missing."""
    try:
        import av
    except ImportError:  # `restore_video` says so
        return ""
    try:
        with open_video(path) as reader:
            return {name.lower(): text for name, text in reader.metadata.items()}.get(COMMENT, "")
    except (av.FFmpegError, OSError, ValueError):  # a broken file is refused when it is restored
        return ""


def asf_length(path: Path) -> float:
    """Return the seconds that an ASF file's header says it has (File Properties Object); 0 where it says nothing."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    place = head.find(ASF_PROPERTIES)
    if place < 0 or len(head) < place + 88:
        return 0.0
    played, _, preroll = struct.unpack_from("<QQQ", head, place + 64)
    return max(played / 1e7 - preroll / 1e3, 0.0)
