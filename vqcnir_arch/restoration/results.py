"""What made a result: written into the file's own metadata, and read from it, so that no result is restored again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.file_kinds import sha256_of
from vqcnir_arch.restoration.photos import Metadata, Photo, processed_by
from vqcnir_arch.restoration.video import is_video, video_comment
from vqcnir_arch.version import __version__

SIGN = "vqcnir "
"""How the line that a result carries begins."""


def maker_line(net: VQNetwork, checkpoint: Path, strength: float, options: Mapping[str, object] | None = None) -> str:
    """Say what makes a result: version, network, the checkpoint's SHA-256, strength, other options by name."""
    kind = type(net).__name__
    said = [f"strength {strength:g}", *(f"{name} {value}" for name, value in (options or {}).items())]
    return f"{SIGN}{__version__}, {kind}, checkpoint sha256 {sha256_of(checkpoint)}, {', '.join(said)}"


def as_result(photo: Photo, rgb: np.ndarray, maker: str | None) -> Photo:
    """Return a photograph in other colours, [H', W', 3], with the line that says what made them.

    Without a line (None) it says nothing of itself: its file gets colours and their profile alone.
    """
    metadata = Metadata() if maker is None else photo.metadata.made_by(maker)
    return replace(photo.with_colours(rgb), metadata=metadata)


def is_result(path: Path) -> bool:
    """Whether a photograph or video carries such a line; only the beginning of the file is read."""
    if is_video(path):
        return video_comment(path).startswith(SIGN)
    return processed_by(path).startswith(SIGN)
