"""Videos without flicker: restored frames whose brightness and colour as a whole do not jump from frame to frame.

A network that sees one frame at a time answers the noise of each with another tone curve. Here the quantiles of a
restored frame's red, green and blue are averaged over its neighbours, and its levels mapped onto the averages: the
midway histogram of J. Delon, "Movie and video scale-time equalization application to flicker reduction", IEEE Trans.
Image Processing 15(1), 2006. What is ours is which neighbours count: those whose *source* frames look alike as a whole
count by how alike they are, so that a lamp, a fade or another scene stays what it was, and none beyond a cut counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

from vqcnir_arch.restoration.video.frames import Frame, Stage

REACH = 4
"""Frames before and after one that may count for it."""
ALIKE = 0.04
"""Difference (`difference`) of two sources' colours as a whole from which on they do not count for each other."""
CUT = 0.15
"""Difference of two sources in a row, place by place, from which on the second begins another shot."""
QUANTILES = (np.arange(32) + 0.5) / 32
"""Shares of the pixels below the levels by which a frame is described."""
THUMBNAIL = (12, 8)
"""Width and height in which sources are compared: noise is averaged out, and what moves a little stays in its place."""
MOST_PIXELS = 256
"""Sides up to which frames are reduced before their quantiles are taken."""
ENTRIES = 4096
"""Of the table by which levels are mapped."""


class Summary(NamedTuple):
    """What is kept of a frame.

    Attributes:
        places: thumbnail of the source, [96, 3].
        colours: the same, each channel in the order of its values.
        levels: quantiles of the restored frame, [32, 3].
        shot: number of the shot that it belongs to.
    """

    places: np.ndarray
    colours: np.ndarray
    levels: np.ndarray
    shot: int


def steady() -> Stage:
    """Return the stage of `restore_video` that takes away flicker; see `steadied`."""
    return Stage(steadied, REACH, f"steady {REACH} {ALIKE} {CUT}")


def steadied(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Take flicker of the whole frame out of restored frames.

    Each result depends on its frame and the `REACH` before and after it alone, so a video can be begun anywhere, that
    many frames early. As many frames are held.

    Args:
        frames: a video's frames in their order; sources and restored ones may differ in size.

    Yields:
        The same frames with other levels in `restored`, [H, W, 3] float32 in [0, 1].
    """
    past: deque[Summary] = deque(maxlen=REACH)
    waiting: deque[tuple[Frame, Summary]] = deque()

    def first() -> Frame:
        """Give out the frame that has waited longest."""
        frame, own = waiting.popleft()
        neighbours = [*enumerate(reversed(past), 1), *enumerate((summary for _, summary in waiting), 1)]
        past.append(own)
        return frame._replace(restored=mapped(frame.restored, own.levels, common_levels(own, neighbours)))

    last: Summary | None = None
    for frame in frames:
        last = summary_of(frame, last)
        waiting.append((frame, last))
        if len(waiting) > REACH:
            yield first()
    while waiting:
        yield first()


def summary_of(frame: Frame, before: Summary | None) -> Summary:
    """Describe a frame, given the description of the one before it."""
    places = cv2.resize(frame.source, THUMBNAIL, interpolation=cv2.INTER_AREA).reshape(-1, 3)
    height, width = frame.restored.shape[:2]
    small = cv2.resize(
        frame.restored, (min(width, MOST_PIXELS), min(height, MOST_PIXELS)), interpolation=cv2.INTER_AREA
    )
    levels = np.quantile(small.reshape(-1, 3), QUANTILES, axis=0)
    shot = 0 if before is None else before.shot + (difference(places, before.places) > CUT)
    return Summary(places, np.sort(places, axis=0), levels, shot)


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return by what share two arrays of levels in [0, 1] differ: root mean square of (a - b) / ((a + b) / 2 + 1/16).

    Eyes and networks go by shares; 1/16 keeps the noise of black from counting as much as light.
    """
    return float(np.sqrt(np.mean(((first - second) / ((first + second) / 2 + 1 / 16)) ** 2)))


def common_levels(own: Summary, neighbours: Iterable[tuple[int, Summary]]) -> np.ndarray:
    """Return a frame's quantiles averaged over it and its neighbours, each given with how many frames away it is."""
    total, weights = own.levels.copy(), 1.0
    for distance, other in neighbours:
        if other.shot == own.shot:
            weight = tricube(distance / (REACH + 1)) * tricube(difference(other.colours, own.colours) / ALIKE)
            total += weight * other.levels
            weights += weight
    return total / weights


def tricube(x: float) -> float:
    """Return (1 - x³)³, the weight of local regression, for x from 0 on; 0 from 1 on."""
    return max(1 - x**3, 0) ** 3


def mapped(image: np.ndarray, levels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Map an image's levels so that its quantiles become others, linearly between them; beyond them by as much.

    Args:
        image: [H, W, 3] float32 in [0, 1].
        levels: its quantiles, [K, 3].
        wanted: what they are to become.
    """
    result = np.empty(image.shape, np.float32)
    grid = np.linspace(0, 1, ENTRIES)
    apart = 1e-6 * np.arange(len(levels))  # quantiles of one level, as of a frame of one colour, are no function
    for channel in range(3):
        change = np.interp(grid, levels[:, channel] + apart, wanted[:, channel] - levels[:, channel])
        entries = np.rint(image[..., channel] * (ENTRIES - 1)).astype(np.int16)
        result[..., channel] = image[..., channel] + change.astype(np.float32)[entries]
    return np.clip(result, 0, 1, out=result)
