"""What the page does with a photograph: read, restore within limits, write for download."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.errors import UserError
from vqcnir_arch.restoration.inference import restore_tensor
from vqcnir_arch.restoration.photo import FORMATS, read_photo, resized, write_photo
from vqcnir_arch.restoration.strips.network import is_supported
from vqcnir_arch.restoration.tiling import GB, fits_whole, is_out_of_memory, restore_within
from vqcnir_arch.serving.checkpoints import Networks

logger = logging.getLogger("vqcnir")


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


@contextmanager
def stopped_after(seconds: float, net: VQNetwork) -> Iterator[Callable[[], None]]:
    """Stop a network with `UserError` between two of its layers once `seconds` are over; give the check itself."""
    end = time.monotonic() + seconds

    def check(*_: object) -> None:
        if time.monotonic() > end:
            raise UserError(f"stopped after {seconds:g} s, the most that one photo may take: try a smaller one")

    hooks = [module.register_forward_pre_hook(check) for module in net.modules()]
    try:
        yield check
    finally:
        for hook in hooks:
            hook.remove()


class Workshop:
    """Restores uploaded photographs, one at a time.

    Args:
        networks: the checkpoints that are offered.
        limits: refused beyond these.
        folder: for the file to download, of which the last one is kept, and for feature maps that do not fit.
    """

    def __init__(self, networks: Networks, limits: Limits, folder: Path) -> None:
        self.networks, self.limits, self.folder = networks, limits, folder

    def restore(self, upload: Path, checkpoint: str) -> Restored:
        """Restore an uploaded file with an offered checkpoint.

        Raises:
            UserError: the file is no photograph, too large or took too long; one line without paths of this machine.
        """
        start = time.monotonic()
        try:
            photo = read_photo(upload, self.limits.megapixels)
            net = self.networks.load(checkpoint)
            image = self.run(net, torch.from_numpy(photo.rgb).permute(2, 0, 1)[None])
            rgb = image[0].permute(1, 2, 0).numpy()
            results = self.folder / "result"
            shutil.rmtree(results, ignore_errors=True)  # the one before: Gradio has its own copy
            results.mkdir()
            ending = upload.suffix if upload.suffix.lower() in FORMATS else ".png"
            file = results / f"{upload.stem}_restored{ending}"
            write_photo(file, photo.with_colours(rgb))
        except UserError as error:
            raise UserError(str(error).replace(str(upload), upload.name).replace(str(self.folder), "")) from error
        before, after = picture(resized(photo.rgb, rgb)), picture(rgb)
        size = f"{photo.rgb.shape[1]} x {photo.rgb.shape[0]}"
        return Restored(before, after, file, f"{size} restored by {checkpoint} in {time.monotonic() - start:.1f} s")

    def run(self, net: VQNetwork, image: torch.Tensor) -> torch.Tensor:
        """Restore [1, 3, H, W] within the limits; in strips where a CPU's memory asks for it, as `vqcnir restore`."""
        memory = self.limits.memory * GB
        fits = self.networks.device.type != "cpu" or fits_whole(net, image, memory)
        too_large = UserError(
            f"{image.shape[3]} x {image.shape[2]} pixels need more memory than there is with this checkpoint: "
            "try a smaller photo"
        )
        if not fits and not is_supported(net):
            raise too_large
        with stopped_after(self.limits.seconds, net) as check:
            if not fits:
                result = restore_within(
                    net, image, memory, folder=self.folder, announce=logger.info, progress=check
                )  # fmt: skip
                return result.image.clamp(0, 1)
            try:
                return restore_tensor(net, image)
            except (RuntimeError, MemoryError) as error:
                if is_out_of_memory(error):
                    raise too_large from error
                raise


def picture(rgb: np.ndarray) -> Image.Image:
    """Return [H, W, 3] in [0, 1] as a picture for the slider."""
    return Image.fromarray(np.round(rgb.clip(0, 1) * 255).astype(np.uint8))
