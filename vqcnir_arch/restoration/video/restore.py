"""A video through a network: decoded, restored frame by frame, encoded in pieces, joined with its sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vqcnir_arch.atomic_files import atomic_write
from vqcnir_arch.errors import UserError
from vqcnir_arch.file_kinds import sha256_of
from vqcnir_arch.restoration.video.comparing import compare_videos
from vqcnir_arch.restoration.video.containers import container_of
from vqcnir_arch.restoration.video.encoding import Encoding, encoded
from vqcnir_arch.restoration.video.frames import Frame, Stage, VideoReader
from vqcnir_arch.restoration.video.joining import join, missing_entries
from vqcnir_arch.restoration.video.look import Look, upright
from vqcnir_arch.restoration.video.pieces import PIECE, Pieces
from vqcnir_arch.restoration.video.planning import plan


def restore_video(
    source: Path,
    target: Path,
    restore: Callable[[np.ndarray], np.ndarray],
    comment: str | None = None,
    *,
    scale: int = 1,
    job: str = "",
    stage: Stage | None = None,
    max_megapixels: float = 100,
    comparison: Path | None = None,
    announce: Callable[[str], object] = lambda line: None,
    quiet: bool = True,
) -> int:
    """Restore every frame of a video's first stream of pictures; all else in it is copied.

    Finished pieces stand in a hidden folder beside the result, until it is whole: the same call goes on after the last.

    Args:
        source: video.
        target: video to write; its ending says the container, and that the codec.
        restore: frame [H, W, 3], upright RGB, float32 in [0, 1], to the restored one, H and W times `scale`.
        comment: what the new file's metadata says of it.
        scale: of the network.
        job: settings of `restore`; pieces of other settings or of another source are not used.
        stage: what changes restored frames before they are encoded.
        max_megapixels: larger frames are refused.
        comparison: video to write of the source beside the result.
        announce: called with a line for what cannot be kept.
        quiet: no progress bar.

    Returns:
        The number of frames.

    Raises:
        UserError: PyAV is not installed, or the file is broken or no video; nothing is written then. Or it breaks off:
            what there was of it is written.
    """
    try:
        import av
    except ImportError as error:
        raise UserError("videos need PyAV: pip install 'vqcnir[video]'") from error
    container = container_of(target)
    try:
        look, encoding = plan(source, container, scale, max_megapixels, announce)
        pieces = Pieces(target, job_line(source, comment, job, stage, encoding))
        if pieces.replaced:
            announce(f"{source}: what was finished with another input or setting is removed")
        if pieces.frames:
            announce(f"{source}: {pieces.frames} frames were finished before")
        with VideoReader(source, max_megapixels) as reader:
            restored = restored_frames(reader, look, restore, pieces.frames, stage)
            shown = tqdm(
                restored, source.name, reader.count, initial=pieces.frames, unit="frame", leave=False, disable=quiet
            )
            for count, packets in encoded(iter(shown), encoding):
                pieces.add(count, packets)
            frames, broken = pieces.frames, reader.broken
        with VideoReader(source, max_megapixels) as reader, atomic_write(target) as file:
            lost = join(reader, file, container, encoding, pieces.packets(), comment)
        with VideoReader(source, max_megapixels) as reader:
            lost += missing_entries(reader, target)
        pieces.remove()
        if comparison is not None:
            compare_videos(source, target, comparison, comment)
    except av.FFmpegError as error:
        raise UserError(f"video '{source}' cannot be restored: {error.strerror}") from error
    if lost:
        announce(f"{source}: '{target.name}' cannot hold {', '.join(lost)}")
    if broken is not None:
        raise UserError(f"video '{source}' {broken}; what there was is restored in '{target}'")
    return frames


def restored_frames(
    reader: VideoReader,
    look: Look,
    restore: Callable[[np.ndarray], np.ndarray],
    finished: int,
    stage: Stage | None,
) -> Iterator[Frame]:
    """Yield the restored frames after the first `finished`."""
    first = max(0, finished - stage.reach) if stage is not None else finished

    def restored() -> Iterator[Frame]:
        for number, (pts, decoded) in enumerate(reader.decoded()):
            if number >= first:
                image = upright(decoded, look)
                yield Frame(pts, decoded.duration or 0, float(pts * reader.clock), image, restore(image))

    frames = restored() if stage is None else stage.change(restored())
    return islice(frames, finished - first, None)


def job_line(source: Path, comment: str | None, job: str, stage: Stage | None, encoding: Encoding) -> str:
    """Say all that a piece depends on."""
    import av

    return repr((sha256_of(source), comment, job, stage and stage.name, encoding, PIECE, av.library_versions))
