"""Contact sheets: input, a curve, the network and the truth beside each other."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2

from small_comparison.measure import result_folder
from small_comparison.methods import BEST_GAMMA, CLAHE, INPUT
from small_comparison.tables import COLUMNS, Measured, number
from vqcnir_arch.atomic_files import write_file
from vqcnir_arch.data.files import read_image
from vqcnir_arch.demo.figures import save_comparison

ROWS = 6
LARGEST = 400_000
"""Bytes of a sheet."""


def spread(names: Sequence[str], count: int = ROWS) -> list[str]:
    """Return at most `count` names from the first to the last at even distances."""
    if len(names) <= count:
        return list(names)
    return [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)]


def write_sheet(path: Path, out: Path, measured: Measured, names: Sequence[str], network: str) -> None:
    """Write one row for each image as a JPEG that is smaller than `LARGEST`.

    Args:
        path: file to write.
        out: folder that the results lie in.
        measured: the set.
        names: images of it.
        network: title of the method that is shown after input and curve.
    """
    shown = [INPUT, BEST_GAMMA if measured.images.truths else CLAHE, network]
    methods = {method.name: method for method in measured.methods}
    columns = {
        title: [read_image(result_folder(out, measured.images, methods[title]) / f"{name}.png") for name in names]
        for title in shown
    }
    captions = [[caption(measured, title, name) for title in shown] for name in names]
    if measured.images.truths:
        columns["truth"] = [read_image(measured.images.truths[name]) for name in names]
        captions = [[*row, ""] for row in captions]
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "sheet.png"
        save_comparison(drawn, columns, captions)
        write_file(path, small_jpeg(drawn))


def caption(measured: Measured, method: str, name: str) -> str:
    """Return the values of one result in a line."""
    values = measured.values[method]
    shown = [column for column in ("psnr", "ssim", "niqe") if column in values][: 2 if "psnr" in values else 1]
    return ", ".join(f"{COLUMNS[column].title} {number(column, values[column][name].value)}" for column in shown)


def small_jpeg(png: Path) -> bytes:
    """Return an image as a JPEG below `LARGEST`: the quality goes down first, then the size."""
    image = read_image(png)
    while True:
        for quality in range(92, 50, -6):
            _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if content.size < LARGEST:
                return content.tobytes()
        image = cv2.resize(image, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
