"""Results are written as PNG and measured from there, so that every number is one of 8-bit values."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
from tqdm import tqdm

from small_comparison.methods import Item, Method
from small_comparison.sets import ImageSet
from vqcnir_arch.atomic_files import write_file
from vqcnir_arch.data.files import encode_png, read_image, size
from vqcnir_arch.devices import CPU
from vqcnir_arch.errors import UserError
from vqcnir_arch.evaluation.journal import Journal, Value
from vqcnir_arch.evaluation.measure import Meter
from vqcnir_arch.evaluation.pairs import Pair
from vqcnir_arch.evaluation.protocols import LPIPS, NIQE, Column, Protocol

EIGHT_BIT = {"data_range": 255}
PSNR = Column("psnr", "PSNR", "psnr-rgb", "scikit-image", "peak_signal_noise_ratio", "higher", options=EIGHT_BIT)
SSIM = Column(
    "ssim", "SSIM", "ssim-rgb", "scikit-image", "structural_similarity", "higher",
    options={**EIGHT_BIT, "channel_axis": 2},
)  # fmt: skip
PROTOCOL = Protocol(
    "small", "PSNR and SSIM by scikit-image, LPIPS (AlexNet), NIQE by BasicSR", (PSNR, SSIM, LPIPS, NIQE)
)

Values = dict[str, dict[str, dict[str, Value]]]
"""By method, column and image."""


def columns_of(images: ImageSet, quick: bool) -> list[Column]:
    """Return what is measured on a set."""
    if images.kind == "ordinary":
        return [PSNR]
    compared = [PSNR, SSIM, LPIPS] if images.truths else []
    return compared if quick else [*compared, NIQE]


def slug(name: str) -> str:
    """Return a method's name as that of a folder."""
    return re.sub(r"[^\w.-]+", "_", name)


def result_folder(out: Path, images: ImageSet, method: Method) -> Path:
    """Return where a method's results on a set lie; the inputs' folder is what another program may be given."""
    return out / "results" / slug(method.name) / images.name


def write_results(out: Path, images: ImageSet, methods: Sequence[Method]) -> None:
    """Run the methods on every image; files that come out as they were keep their time, and so their measurements.

    Raises:
        UserError: an image cannot be read, or a result has another size than its input.
    """
    for name, path in tqdm(images.inputs.items(), desc=f"restoring {images.name}", unit="image"):
        truth = read_image(images.truths[name]) if images.truths else None
        item = Item(images, name, read_image(path), truth)
        for method in methods:
            result = method.run(item)
            if result.shape != item.image.shape:
                raise UserError(f"{method.name}: '{name}' is {size(result)}, its input {size(item.image)}")
            write_if_new(result_folder(out, images, method) / f"{name}.png", encode_png(result[..., ::-1]))


def write_if_new(path: Path, content: bytes) -> None:
    """Write a file unless it has this content."""
    if not (path.is_file() and path.read_bytes() == content):
        write_file(path, content)


def measure(out: Path, images: ImageSet, methods: Sequence[Method], columns: Sequence[Column], workers: int) -> Values:
    """Measure written results; what the journal in `out` has of the same files is taken over.

    Raises:
        UserError: weights of a metric are missing, or a file cannot be read.
    """
    pairs = {
        (method.name, name): Pair(
            f"{slug(method.name)}/{images.name}/{name}",
            result_folder(out, images, method) / f"{name}.png",
            images.truths.get(name),
        )
        for method in methods
        for name in images.inputs
    }
    journal = Journal(out)
    try:
        cv2.setNumThreads(1)
        with contextlib.redirect_stdout(sys.stderr):  # pyiqa tells there which weights it loads
            meter = Meter(PROTOCOL, columns, journal, CPU, batch=1)
        if meter.measured.skipped:
            raise UserError("; ".join(f"column {name}: {why}" for name, why in meter.measured.skipped.items()))
        todo = meter.missing(list(pairs.values()))
        meter.measure(todo, len(pairs) - len(todo), workers)
    finally:
        journal.close()
    if meter.measured.failed:
        raise UserError("; ".join(meter.measured.failed.values()))
    return {
        method.name: {
            column.name: {
                name: meter.measured.values[column.name][pairs[method.name, name].name] for name in images.inputs
            }
            for column in columns
        }
        for method in methods
    }
