"""Feature maps that need not fit into memory, kept row by row in scratch files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from vqcnir_arch.archs.cpu import moments
from vqcnir_arch.atomic_files import reason
from vqcnir_arch.errors import UserError

BYTES = 4  # float32
PORTION = 64 * 2**20
"""Bytes of rows that are worked on at a time, though there be memory for more: near the caches it is faster."""
LEAST_MARGINS = 8
"""So many times the rows that are computed twice, at either end of a strip, are computed once, if memory allows it."""


class Feature:
    """A feature map [C, H, W] that is written from top to bottom and then read.

    Args:
        shape: (C, H, W).
        storage: a tensor [H, W, C], or a file; rows lie together, so that a strip is one piece of it, and in the order
            in which a CPU's convolutions are fastest (channels_last).
        release: called when nothing refers to the map any more.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        storage: Tensor | FileIO,
        release: Callable[[], None],
    ) -> None:
        self.channels, self.height, self.width = shape
        self.storage, self.release = storage, release
        self._moments: Tensor | None = None

    def write(self, x: Tensor, start: int = 0) -> None:
        """Put rows, [1, C, rows, W], into their place from row `start` on."""
        rows, self._moments = x[0].permute(1, 2, 0), None
        if isinstance(self.storage, Tensor):
            self.storage[start : start + len(rows)] = rows
            return
        try:
            self.storage.seek(start * self.row_bytes)
            self.storage.write(rows.contiguous().numpy().data)
        except OSError as error:
            raise UserError(f"the scratch file cannot be written: {reason(error)}") from error

    def rows(self, start: int, end: int) -> Tensor:
        """Read the rows from `start` to before `end`, [1, C, rows, W]; they are not to be written to."""
        if isinstance(self.storage, Tensor):
            rows = self.storage[start:end]
        else:
            content = bytearray((end - start) * self.row_bytes)
            self.storage.seek(start * self.row_bytes)
            self.storage.readinto(content)
            rows = torch.frombuffer(content, dtype=torch.float32).view(-1, self.width, self.channels)
        return rows.permute(2, 0, 1)[None]

    @property
    def row_bytes(self) -> int:
        return self.channels * self.width * BYTES

    def moments(self) -> Tensor:
        """Return mean and mean square of every channel, [2, C], float64; read from all rows once."""
        if self._moments is None:
            step = max(1, PORTION // self.row_bytes)
            strips = (self.rows(start, min(start + step, self.height)) for start in range(0, self.height, step))
            sums = (torch.cat(moments(x.permute(0, 2, 3, 1).flatten(1, 2))) * x.shape[2] for x in strips)
            self._moments = sum(sums, torch.zeros(())) / self.height
        return self._moments

    def __del__(self) -> None:
        """Give back memory or disk: no map is computed from this one any more."""
        self.release()


def free_space(folder: Path) -> int:
    """Return the free bytes of the disk behind a folder."""
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise UserError(f"scratch folder '{folder}' cannot be used: {reason(error)}") from error


def open_scratch_file(folder: Path) -> FileIO:
    """Open a file without a name, which vanishes with the process."""
    try:
        return cast(Any, tempfile.TemporaryFile(dir=folder, buffering=0))  # on Windows a wrapper of the FileIO
    except OSError as error:
        raise UserError(f"scratch folder '{folder}' cannot be written: {reason(error)}") from error


class Scratch:
    """Makes feature maps, in memory as long as they fit, then in files without a name that vanish with the process.

    Args:
        folder: where the files go.
        memory: bytes of feature maps that may be in memory at a time.
        strip_memory: bytes that one step may use for the rows that it works on.
        strip_share: share of a map's rows that a strip has; default: what `strip_memory` allows.
    """

    def __init__(self, folder: Path, memory: int, strip_memory: int, strip_share: float | None = None) -> None:
        self.folder, self.memory, self.strip_memory, self.strip_share = folder, memory, strip_memory, strip_share
        self.on_disk = self.most_on_disk = 0

    def feature(self, channels: int, height: int, width: int) -> Feature:
        """Make a feature map.

        Raises:
            UserError: there is neither memory nor room on the disk for it.
        """
        size = channels * height * width * BYTES
        if size <= self.memory:
            self.memory -= size
            storage: Tensor | FileIO = torch.empty(height, width, channels)

            def release() -> None:
                self.memory += size
        else:
            free = free_space(self.folder)
            if free < size:
                raise UserError(
                    f"scratch folder '{self.folder}' has {free / 1e9:.1f} GB free, {size / 1e9:.1f} GB more are needed"
                )
            storage = file = open_scratch_file(self.folder)
            self.on_disk += size
            self.most_on_disk = max(self.most_on_disk, self.on_disk)

            def release() -> None:
                self.on_disk -= size
                file.close()

        return Feature((channels, height, width), storage, release)

    def rows_at_a_time(self, height: int, row_bytes: float, cost: float, margin: int) -> int:
        """Return how many rows of a map are computed at a time.

        Args:
            height: of the map.
            row_bytes: of one of its rows, and of those of the maps that it is computed from.
            cost: how many times as much is in memory while rows are computed.
            margin: rows that are computed twice, at either end of a strip.
        """
        if self.strip_share is not None:
            return max(1, round(self.strip_share * height))
        wanted = max(PORTION / row_bytes, LEAST_MARGINS * margin)
        return max(1, int(min(wanted, self.strip_memory / (cost * row_bytes))))
