"""What BasicSR's own data set of pairs would stop at in the middle of a run, and without naming the file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from basicsr.data.paired_image_dataset import PairedImageDataset

from vqcnir_arch.data.files import read_image
from vqcnir_arch.data.headers import Header, read_header
from vqcnir_arch.errors import UserError

ENDS = (b"IEND\xaeB`\x82", b"\xff\xd9")
"""Last bytes of a whole PNG and of a whole JPEG."""


def broken_pairs(dataset: Any, workers: int = 8) -> list[str]:
    """Look at all files of a `PairedImageDataset` that reads a disk; their pixels only where the end looks cut off.

    Returns:
        A line that names the first file that BasicSR would break on, and says how many more there are; else nothing.
    """
    if not isinstance(dataset, PairedImageDataset) or dataset.opt["io_backend"].get("type") != "disk":
        return []
    with ThreadPoolExecutor(workers) as pool:
        found = [problem for problem in pool.map(partial(problem_of, dataset.opt), dataset.paths) if problem]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return [found[0] + more] if found else []


def problem_of(options: Mapping[str, Any], pair: Mapping[str, str]) -> str | None:
    """Say what is wrong with a pair; None where nothing is."""
    return next(_problems(options, Path(pair["lq_path"]), Path(pair["gt_path"]), pair), None)


def _problems(options: Mapping[str, Any], lq: Path, gt: Path, pair: Mapping[str, str]) -> Iterator[str]:
    headers: list[Header] = []
    names = options.get("meta_info_file")
    listed = f": meta_info_file '{names}' has an empty line" if names else ""
    for path, text in ((gt, pair["gt_path"]), (lq, pair["lq_path"])):
        if path.is_dir():
            yield f"'{text}' is a folder, expected an image{listed}"
        if "\ufeff" in text:
            yield f"meta_info_file '{names}' begins with a byte order mark: save it without"
        try:
            headers.append(read_header(path))
            if looks_cut(path):
                read_image(path)
        except UserError as error:
            yield str(error)
    (truth, image), scale = headers, options["scale"]
    wanted = (image.width * scale, image.height * scale)
    sizes = f"'{gt}' is {truth.width} x {truth.height}, '{lq}' {image.width} x {image.height}: expected {wanted[0]} x "
    is_train = options["phase"] == "train"
    if (truth.width, truth.height) != wanted if is_train else truth.width < wanted[0] or truth.height < wanted[1]:
        yield f"{sizes}{wanted[1]} of the first, at scale {scale}"
    crop = options.get("gt_size")
    if is_train and isinstance(crop, int) and min(truth.width, truth.height) < crop:
        yield f"'{gt}' is {truth.width} x {truth.height}, smaller than gt_size {crop}"


def looks_cut(path: Path) -> bool:
    """Tell whether a PNG or JPEG does not end as a whole one does."""
    with open(path, "rb") as file:
        kind = file.read(2)
        file.seek(max(os.path.getsize(path) - 8, 0))
        return kind in (b"\x89P", b"\xff\xd8") and not file.read().endswith(ENDS)
