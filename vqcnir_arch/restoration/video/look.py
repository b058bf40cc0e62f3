"""How a video's frames are shown: upright, in which colours, with pixels of which shape."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vqcnir_arch.restoration.photos import UPRIGHT
from vqcnir_arch.restoration.video.colours import Colours, colours_of, to_rgb

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream

ORIENTATION = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
"""EXIF's orientation by the display matrix's first two rows of two."""


class Look(NamedTuple):
    """How a video's frames are to be shown, by its first one."""

    colours: Colours
    orientation: int
    aspect: Fraction
    width: int
    height: int
    is_interlaced: bool

    @property
    def is_turned(self) -> bool:
        """Whether upright its width is its height."""
        return self.orientation > 4


def look_of(frame: VideoFrame, picture: VideoStream, is_interlaced: bool) -> Look:
    """Return how frames are to be shown.

    Raises:
        UserError: their colours are coded in a way that we do not compute.
    """
    aspect = picture.sample_aspect_ratio or picture.codec_context.sample_aspect_ratio or Fraction(1)
    orientation = orientation_of(frame)
    if orientation > 4:
        aspect = 1 / aspect
    return Look(colours_of(frame), orientation, aspect, frame.width, frame.height, is_interlaced)


def orientation_of(frame: VideoFrame) -> int:
    """Return EXIF's orientation for a frame's display matrix; 1 where it has none or turns by no quarter."""
    found: Any = frame.side_data.get("DISPLAYMATRIX")
    if found is None:
        return 1
    a, b, _, c, d = np.frombuffer(found, np.int32)[:5].tolist()
    signs = [int(np.sign(x)) if abs(x) > 1 << 15 else 0 for x in (a, b, c, d)]  # 1 is 1 << 16
    return ORIENTATION.get((signs[0], signs[1], signs[2], signs[3]), 1)


def upright(frame: VideoFrame, look: Look) -> np.ndarray:
    """Return a frame as RGB in [0, 1], [H, W, 3]; one of another size than the first in the first one's."""
    if (frame.width, frame.height) != (look.width, look.height):
        frame = frame.reformat(width=look.width, height=look.height)
    rgb = to_rgb(frame)
    turn = UPRIGHT.get(look.orientation)
    return rgb if turn is None else np.ascontiguousarray(turn(rgb))
