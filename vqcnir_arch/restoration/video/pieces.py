"""Finished pieces of a video that is being restored, kept beside its result until they are joined.

A piece is the packets of `PIECE` frames, encoded by themselves and written whole or not at all. So a process that is
killed loses one piece at most, and what is joined is the same whether it was stopped in between or not.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vqcnir_arch.atomic_files import atomic_write, remove_leftovers, temporary_of, write_file

PIECE = 24
"""Frames of a piece: about a second, as far as players want from one key frame to the next."""
HEADER = struct.Struct("<qq?I")  # time, duration, whether it is a key frame, bytes


class Coded(NamedTuple):
    """A packet of the encoder, times in the clock of the stream."""

    pts: int
    duration: int
    is_key: bool
    data: bytes


class Pieces:
    """The pieces of one result.

    Args:
        target: the result.
        job: what is done to which file, and how; pieces of another job are removed.

    Attributes:
        replaced: whether there were pieces of another job.
    """

    def __init__(self, target: Path, job: str) -> None:
        self.folder = folder_of(target)
        self.job = hashlib.sha256(job.encode()).hexdigest()
        self.replaced = False
        if not (self.label.is_file() and self.label.read_text("utf-8", "replace") == self.job):
            self.replaced = self.frames > 0
            self.remove()
        remove_leftovers(self.folder)

    @property
    def label(self) -> Path:
        """The file that says whose pieces they are; it is there before the first of them."""
        return self.folder / "job"

    def files(self) -> list[Path]:
        """Return the pieces in their order; a name is the number of the first frame and that of all."""
        return sorted(self.folder.glob("*-*.piece"))

    @property
    def frames(self) -> int:
        """How many frames are finished."""
        files = self.files()
        return sum(map(int, files[-1].stem.split("-"))) if files else 0

    def add(self, count: int, packets: list[Coded]) -> None:
        """Write the packets of the next `count` frames.

        Raises:
            UserError: they cannot be written.
        """
        if not self.label.is_file():
            write_file(self.label, self.job.encode())
        with atomic_write(self.folder / f"{self.frames:09}-{count}.piece") as file:
            for packet in packets:
                file.write(HEADER.pack(packet.pts, packet.duration, packet.is_key, len(packet.data)))
                file.write(packet.data)

    def packets(self) -> Iterator[Coded]:
        """Yield all packets; each lasts until the next one begins."""
        waiting: Coded | None = None
        for path in self.files():
            with path.open("rb") as file:
                while header := file.read(HEADER.size):
                    pts, duration, is_key, size = HEADER.unpack(header)
                    if waiting is not None:
                        yield waiting._replace(duration=pts - waiting.pts)
                    waiting = Coded(pts, duration, is_key, file.read(size))
        if waiting is not None:
            yield waiting

    def remove(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)


def folder_of(target: Path) -> Path:
    """Return where the pieces of a result stand."""
    return temporary_of(target, "pieces")


def remove_pieces(target: Path) -> None:
    """Remove the pieces of a result that is whole; its process was killed before it could."""
    shutil.rmtree(folder_of(target), ignore_errors=True)
