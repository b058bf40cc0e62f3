"""What the page does with a photograph: read, restore within limits, write for download."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.inference import blended, check_strength
from vqcnir_arch.restoration.photos import Photo, read_photo, resized, write_photo, written_ending
from vqcnir_arch.restoration.results import as_result, maker_line
from vqcnir_arch.restoration.tiling import GB, NoRoom
from vqcnir_arch.serving.offered import Networks
from vqcnir_arch.serving.passes import Progress, pass_within, stopped_after
from vqcnir_arch.serving.sizes import Size, scaled, size_in_time

SHOWN = 2048
"""Pixels of the longer side of a picture on the page; what is downloaded is whole."""
STEP = 0.7
"""Of the pixels: what is tried next where they do not fit into the memory."""
LEAST_SIDE = 64
"""A photograph for which there is no memory at this height or width is given up."""


@dataclass(frozen=True)
class Limits:
    """What one photograph may take: its size, the upload, the time in the network, and a CPU's memory in GB."""

    megapixels: float
    megabytes: float
    seconds: float
    memory: float


class Restored(NamedTuple):
    """Before and after as pictures of one size, the file to download, and a line on what was done."""

    before: Image.Image
    after: Image.Image
    file: Path
    said: str


class Pass(NamedTuple):
    """What a network made of an upload: kept, so that another strength needs no second pass."""

    upload: Path
    checkpoint: str
    photo: Photo
    """The photograph at the size at which it was restored."""
    restored: Tensor
    said: str


class RestorationService:
    """Restores uploaded photographs, one at a time.

    Args:
        networks: the checkpoints that are offered.
        limits: refused beyond its megapixels; beyond time and memory a photograph is restored at a smaller size.
        folder: for the file to download, of which the last one is kept, and for feature maps that do not fit.
    """

    def __init__(self, networks: Networks, limits: Limits, folder: Path) -> None:
        self.networks, self.limits, self.folder = networks, limits, folder
        self.last: Pass | None = None
        self.lock = threading.Lock()  # Gradio begins the next one while one that a visitor left goes on

    def look(self, upload: Path) -> Image.Image:
        """Return a picture of an uploaded photograph; same errors as `restore`."""
        with self.errors_without_paths(upload):
            return picture(read_photo(upload, self.limits.megapixels).rgb)

    def restore(
        self, upload: Path, checkpoint: str, strength: float = 1, progress: Progress = lambda *_: None
    ) -> Restored:
        """Restore an uploaded file with an offered checkpoint; the last one in another strength without the network.

        Args:
            upload: the file.
            checkpoint: its name on the page.
            strength: 1 gives what the network gives, 0 the photograph, linear between.
            progress: called while the network works.

        Raises:
            UserError: the file is no photograph, too large or took too long, or the strength is none; one line without
                paths of this machine.
        """
        check_strength(strength)
        with self.lock, self.errors_without_paths(upload):
            if self.last is None or (self.last.upload, self.last.checkpoint) != (upload, checkpoint):
                self.last = None  # two would need twice the memory
                self.last = self.run(upload, checkpoint, progress)
            photo = self.last.photo
            progress(1, "writing")
            after = blended(as_tensor(photo.rgb), self.last.restored, strength)[0].permute(1, 2, 0).numpy()
            results = self.folder / "result"
            shutil.rmtree(results, ignore_errors=True)  # the one before: Gradio has its own copy
            results.mkdir()
            file = results / f"{upload.stem}_restored{written_ending(upload)}"
            maker = maker_line(self.networks.load(checkpoint), self.networks.paths[checkpoint], strength)
            lost = write_photo(file, as_result(photo, after, maker))
            without = f"; {file.suffix} is without {', '.join(lost)}" if lost else ""
            return Restored(picture(resized(photo.rgb, after)), picture(after), file, self.last.said + without)

    @contextmanager
    def errors_without_paths(self, upload: Path) -> Iterator[None]:
        """Take this machine's folders out of the lines that visitors see."""
        try:
            yield
        except UserError as error:
            raise UserError(str(error).replace(str(upload), upload.name).replace(str(self.folder), "")) from error

    def run(self, upload: Path, checkpoint: str, progress: Progress) -> Pass:
        """Restore an uploaded file at its own size, or at the largest that the limits allow."""
        start = time.monotonic()
        progress(0, "reading")
        given = read_photo(upload, self.limits.megapixels)
        net = self.networks.load(checkpoint)
        memory = self.limits.memory * GB if self.networks.device.type == "cpu" else None
        whole = given.rgb.shape[:2]
        with stopped_after(self.limits.seconds, net):
            size = size_in_time(net, whole, self.limits.seconds)
            while True:
                photo = in_size(given, size)
                try:
                    restored = pass_within(net, as_tensor(photo.rgb), memory, self.folder, progress)
                    break
                except NoRoom:
                    if net.fixed_size is not None or min(size) < LEAST_SIDE:
                        raise
                    size = scaled(size, STEP * size[0] * size[1])
        at = "" if size == whole else f" at {size[1]} x {size[0]}, as large as time and memory allow,"
        said = f"{whole[1]} x {whole[0]} restored{at} by {checkpoint} in {time.monotonic() - start:.1f} s"
        return Pass(upload, checkpoint, photo, restored, said)


def as_tensor(rgb: np.ndarray) -> Tensor:
    """Return [H, W, 3] as [1, 3, H, W] of the same memory."""
    return torch.from_numpy(rgb).permute(2, 0, 1)[None]


def in_size(photo: Photo, size: Size) -> Photo:
    """Return a photograph in a smaller size, each pixel the mean of what it covers; in its own it stays as it is."""
    if photo.rgb.shape[:2] == size:
        return photo
    smaller = cv2.resize(photo.rgb, size[::-1], interpolation=cv2.INTER_AREA)
    return photo.with_colours(smaller)


def picture(rgb: np.ndarray) -> Image.Image:
    """Return [H, W, 3] in [0, 1] as a picture for the page, not larger than it can show."""
    height, width = scaled(rgb.shape[:2], rgb.shape[0] * rgb.shape[1] * (SHOWN / max(rgb.shape[:2])) ** 2)
    shown = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    return Image.fromarray(np.round(shown.clip(0, 1) * 255).astype(np.uint8))
