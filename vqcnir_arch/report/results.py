"""Folders of restored images: paired by name with each other and with the truth, and measured image by image."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vqcnir_arch.data.files import existing_folder, find_images, read_image, size
from vqcnir_arch.errors import UserError, nearest

PER_IMAGE = ("per_image.csv", "images.csv")
NO_METRICS = ("image", "video", "notes")
"""Columns of such a table that hold text."""
LOWER_IS_BETTER = ("lpips", "niqe", "brisque", "pi", "fid", "dists", "ilniqe")

Values = dict[str, dict[str, float]]
"""Metric to image to value."""


@dataclass
class Results:
    """Somebody's restored images.

    Attributes:
        files: path of each image by its name, `<video>/<frame>`.
        values: what was measured.
        source: where the values come from.
    """

    name: str
    folder: Path
    files: dict[str, Path]
    values: Values = field(default_factory=dict)
    source: str = "not measured"

    def means(self) -> dict[str, tuple[float, int]]:
        """Return mean and number of images of each metric, without the images that have no value."""
        means = {}
        for metric, by_image in self.values.items():
            known = [value for value in by_image.values() if not math.isnan(value)]
            if known:
                means[metric] = (float(np.mean(known)), len(known))
        return means


def lower_is_better(metric: str) -> bool:
    """Whether a small value of the metric is a good one, by its name."""
    return metric.lower().split("_")[0] in LOWER_IS_BETTER


def read_results(entries: Sequence[str], protocol: str | None = None) -> list[Results]:
    """Find the images of `NAME=DIR` (or `DIR`, named like the folder) entries, and their values where they were kept.

    Args:
        entries: the folders.
        protocol: the evaluation whose values count, where there are several.

    Raises:
        UserError: one line for each entry that is wrong; or the folders hold different images.
    """
    found: list[Results] = []
    problems = []
    for entry in entries:
        name, _, folder = entry.rpartition("=")
        try:
            path = existing_folder(Path(folder).expanduser(), f"--results {name or folder}:")
            images = image_folder(path)
            results = Results(name or path.resolve().name, images, find_images(images))
            values = find_values(images, path, protocol)
            if values is not None:
                read_values(results, values)
            if results.name in (other.name for other in found):
                raise UserError(f"--results: two folders are named '{results.name}': give NAME=DIR")
            found.append(results)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    for other in found[1:]:
        if other.files.keys() != found[0].files.keys():
            sides = [
                (a.name, sorted(a.files.keys() - b.files.keys())) for a, b in ((found[0], other), (other, found[0]))
            ]
            lacks = "; ".join(f"only '{name}' has {listed(images)}" for name, images in sides if images)
            raise UserError(f"--results: '{found[0].name}' and '{other.name}' do not hold the same images: {lacks}")
    return found


def image_folder(folder: Path) -> Path:
    """Return where the images are: the folder, or `visualization/<data set>` of a test's `results/NAME`."""
    visualization = folder / "visualization"
    if not visualization.is_dir():
        return folder
    datasets = sorted(path.name for path in visualization.iterdir() if path.is_dir() and not value_file(path))
    if len(datasets) != 1:
        choice = f"name one of {', '.join(datasets)}" if datasets else "was save_img on?"
        raise UserError(f"'{visualization}' holds images of {len(datasets)} data sets, expected one: {choice}")
    return visualization / datasets[0]


def value_file(folder: Path) -> Path | None:
    """Return the table of per-image values in a folder, if there is one."""
    return next((folder / name for name in PER_IMAGE if (folder / name).is_file()), None)


def find_values(images: Path, given: Path, protocol: str | None) -> Path | None:
    """Return the per-image values of results: in one of their folders, or `<images>_<protocol>/` beside the images.

    Raises:
        UserError: there are several, or none of that protocol.
    """
    beside = {
        path.name.removeprefix(f"{images.name}_"): file
        for path in sorted(images.resolve().parent.glob(f"{images.name}_*"))
        if (file := value_file(path))
    }
    if protocol is not None:
        if protocol not in beside:
            raise UserError(
                f"there are no values of protocol '{protocol}' beside '{images}'{nearest(protocol, beside)}"
            )
        return beside[protocol]
    own = value_file(images) or value_file(given)
    if own is None and len(beside) > 1:
        raise UserError(f"'{images}' was evaluated more than once: name a --protocol of {', '.join(beside)}")
    return own or next(iter(beside.values()), None)


def read_values(results: Results, path: Path) -> None:
    """Take the values of a table that `vqcnir evaluate` wrote: a column `image`, and one for each metric.

    Raises:
        UserError: it is no such table, or does not name the images of the folder.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            columns = list(table.fieldnames or [])
            rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"'{path}' cannot be read: {error}") from error
    metrics = [column for column in columns if column not in NO_METRICS]
    if "image" not in columns or not metrics:
        raise UserError(
            f"'{path}': expected a column image and one for each metric, got {', '.join(columns) or 'none'}"
        )
    try:
        results.values = {m: {row["image"]: float(row[m] or "nan") for row in rows} for m in metrics}
    except ValueError as error:
        raise UserError(f"'{path}' has a value that is no number: {error}") from error
    unknown = sorted({row["image"] for row in rows} - results.files.keys())
    if unknown or len(rows) != len(results.files):
        what = f"{listed(unknown)} without a file" if unknown else "expected one row each"
        raise UserError(f"'{path}' has {len(rows)} rows for {len(results.files)} images: {what}")
    results.source = str(path)


def read_side(folder: str, flag: str, results: Sequence[Results]) -> dict[str, Path]:
    """Find the ground truths or the inputs of all results; there may be more than are needed.

    Raises:
        UserError: the folder is none, or lacks an image.
    """
    files = find_images(existing_folder(Path(folder).expanduser(), flag))
    names = results[0].files
    missing = sorted(names.keys() - files.keys())
    if missing:
        hint = nearest(missing[0], files) if len(missing) == len(names) else ""
        raise UserError(f"{flag} '{folder}' lacks {listed(missing)} of {len(names)} result images{hint}")
    return {name: files[name] for name in names}


def listed(names: Sequence[str]) -> str:
    """Return how many there are, and the first three."""
    return f"{len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def measure(results: Results, truths: Mapping[str, Path], limit: int) -> None:
    """Measure PSNR and SSIM of at most `limit` images, evenly spread, on RGB, nothing cropped.

    Raises:
        UserError: an image is broken, or has another size than its truth.
    """
    from tqdm import tqdm

    from vqcnir_arch.metrics.quality import psnr, ssim

    names = sorted(results.files)
    count = min(limit, len(names))
    chosen = [names[i * len(names) // count] for i in range(count)]
    results.values = {"psnr": {}, "ssim": {}}
    for name in tqdm(chosen, desc=f"measuring {results.name}", unit="image"):
        image, truth = read_image(results.files[name]), read_image(truths[name])
        if image.shape != truth.shape:
            raise UserError(
                f"'{results.files[name]}' is {size(image)}, but its ground truth '{truths[name]}' is {size(truth)}"
            )
        results.values["psnr"][name] = psnr(image, truth)
        results.values["ssim"][name] = ssim(image, truth)
    results.source = "measured by this report"


def rank_metric(results: Results, wanted: str | None) -> str | None:
    """Return the metric that says which images are best: the one asked for, a PSNR, or the first there is.

    Raises:
        UserError: the metric asked for was not measured.
    """
    measured = results.means()
    if wanted is not None and wanted not in measured:
        raise UserError(f"--rank: '{results.name}' has no values of '{wanted}'{nearest(wanted, measured)}")
    return wanted or next((m for m in measured if m.startswith("psnr")), next(iter(measured), None))


def best_and_worst(results: Results, metric: str | None, count: int) -> dict[str, list[str]]:
    """Return the names of the `count` best and worst images; all of them in order where nothing was measured."""
    if metric is None:
        return {"Images": sorted(results.files)[: 2 * count]}
    known = {name: value for name, value in results.values[metric].items() if not math.isnan(value)}
    ordered = sorted(known, key=lambda name: (known[name], name), reverse=lower_is_better(metric))
    worst = ordered[: min(count, (len(ordered) + 1) // 2)]
    best = [name for name in reversed(ordered[-count:]) if name not in worst]
    return {"Worst": worst, "Best": best}
