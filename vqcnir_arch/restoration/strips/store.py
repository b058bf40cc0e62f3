"""Feature maps that need not fit into memory, kept row by row in scratch files."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from vqcnir_arch.archs.cpu import moments
from vqcnir_arch.errors import UserError
from vqcnir_arch.whole_files import reason

BYTES = 4  # float32
PORTION = 64 * 2**20
"""Bytes of rows that are worked on at a time, though there be memory for more: near the caches it is faster."""
LEAST_HALOS = 8
"""So many times the rows that are computed twice, at either end of a strip, are computed once, if memory allows it."""


@dataclass(frozen=True)
class Strip:
    """Some rows of a feature map.

    Attributes:
        x: [1, C, rows, W]; what a stored map gives is not to be written to.
        start: the first row's place in the map.
        height: rows of the whole map.
    """

    x: Tensor
    start: int
    height: int

    @property
    def end(self) -> int:
        return self.start + self.x.shape[2]

    def map(self, function: Callable[[Tensor], Tensor]) -> Strip:
        """Apply what treats every pixel by itself."""
        return Strip(function(self.x), self.start, self.height)

    def crop(self, start: int, end: int) -> Strip:
        """Return the rows from `start` to before `end`."""
        if start < self.start or end > self.end:
            raise ValueError(f"rows {start}..{end} are not in {self.start}..{self.end}: the halo is too small")
        return Strip(self.x[:, :, start - self.start : end - self.start], start, self.height)


def together(function: Callable[..., Tensor], *strips: Strip) -> Strip:
    """Apply what treats every pixel by itself to several maps, over the rows that all of them have."""
    start, end = max(strip.start for strip in strips), min(strip.end for strip in strips)
    return Strip(function(*(strip.crop(start, end).x for strip in strips)), start, strips[0].height)


class Feature:
    """A feature map [C, H, W] that is written from top to bottom and then read.

    Args:
        shape: (C, H, W).
        storage: a tensor [H, W, C], or a file; rows lie together, so that a strip is one piece of it, and in the order
            in which a CPU's convolutions are fastest (channels_last).
        release: called when the map is no longer needed.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        storage: Tensor | BinaryIO,
        release: Callable[[], None],
    ) -> None:
        self.channels, self.height, self.width = shape
        self.storage, self.release = storage, release
        self._moments: Tensor | None = None

    def write(self, strip: Strip) -> None:
        """Put rows into their place."""
        rows, self._moments = strip.x[0].permute(1, 2, 0), None
        if isinstance(self.storage, Tensor):
            self.storage[strip.start : strip.end] = rows
            return
        try:
            self.storage.seek(strip.start * self.row_bytes)
            self.storage.write(rows.contiguous().numpy().data)
        except OSError as error:
            raise UserError(f"the scratch file cannot be written: {reason(error)}") from error

    def rows(self, start: int, end: int) -> Strip:
        """Read rows; what is outside the map is left out."""
        start, end = max(start, 0), min(end, self.height)
        if isinstance(self.storage, Tensor):
            rows = self.storage[start:end]
        else:
            content = bytearray((end - start) * self.row_bytes)
            self.storage.seek(start * self.row_bytes)
            self.storage.readinto(content)
            rows = torch.frombuffer(content, dtype=torch.float32).view(-1, self.width, self.channels)
        return Strip(rows.permute(2, 0, 1)[None], start, self.height)

    @property
    def row_bytes(self) -> int:
        return self.channels * self.width * BYTES

    def channel_means(self) -> Tensor:
        """Return the mean of every channel, [1, C, 1, 1]."""
        return self.moments()[0].float().view(1, -1, 1, 1)

    def moments(self) -> Tensor:
        """Return mean and mean square of every channel, [2, C], float64; read from all rows once."""
        if self._moments is None:
            step = max(1, PORTION // self.row_bytes)
            strips = (self.rows(start, start + step).x for start in range(0, self.height, step))
            self._moments = sum(torch.cat(moments(x.permute(0, 2, 3, 1).flatten(1, 2))) * x.shape[2] for x in strips)
            self._moments /= self.height
        return self._moments

    def free(self) -> None:
        """Give back memory or disk."""
        self.storage = None
        self.release()


def free_space(folder: Path) -> int:
    """Return the free bytes of the disk behind a folder."""
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise UserError(f"scratch folder '{folder}' cannot be used: {reason(error)}") from error


def open_scratch_file(folder: Path) -> BinaryIO:
    """Open a file without a name, which vanishes with the process."""
    try:
        return tempfile.TemporaryFile(dir=folder, buffering=0)
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
            storage = torch.empty(height, width, channels)

            def release() -> None:
                self.memory += size
        else:
            free = free_space(self.folder)
            if free < size:
                raise UserError(
                    f"scratch folder '{self.folder}' has {free / 1e9:.1f} GB free, {size / 1e9:.1f} GB more are needed"
                )
            storage = open_scratch_file(self.folder)
            self.on_disk += size
            self.most_on_disk = max(self.most_on_disk, self.on_disk)

            def release() -> None:
                self.on_disk -= size
                storage.close()

        return Feature((channels, height, width), storage, release)

    def sweep(
        self,
        function: Callable[..., Strip | tuple[Strip, ...]],
        inputs: Sequence[Feature],
        outputs: Sequence[int],
        height: int,
        width: int,
        halo: int = 0,
        factor: float = 1,
        cost: float = 4,
        into: Feature | None = None,
    ) -> list[Feature]:
        """Compute feature maps strip by strip.

        Args:
            function: strips of the inputs to those of the outputs, which may have more rows than asked for.
            inputs: maps of equal height.
            outputs: channels of each map to make.
            height, width: of the outputs.
            halo: rows of the inputs that an output needs beyond its own place, at either side.
            factor: input rows per output row.
            cost: how many times over inputs and outputs are in memory while `function` runs.
            into: one of the inputs, of which `function` needs no row beyond the output's, to be overwritten by the one
                output, which has its size.
        """
        made = [self.feature(channels, height, width) for channels in outputs] if into is None else [into]
        channels = sum(outputs) + factor * sum(f.channels * f.width / width for f in inputs)
        if self.strip_share is None:
            row = channels * width * BYTES
            rows = max(1, int(min(self.strip_memory / (cost * row), max(PORTION / row, LEAST_HALOS * halo))))
        else:
            rows = max(1, round(self.strip_share * height))
        for start in range(0, height, rows):
            end = min(start + rows, height)
            first, last = int(start * factor) - halo, math.ceil(end * factor) + halo
            results = function(*(feature.rows(first, last) for feature in inputs))
            for feature, strip in zip(made, results if isinstance(results, tuple) else (results,), strict=True):
                feature.write(strip.crop(start, end))
        return made
