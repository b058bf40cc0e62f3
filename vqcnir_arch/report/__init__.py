"""`vqcnir report`: one HTML page on trainings, tests and folders of results, which opens without a network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vqcnir_arch.arguments import positive
from vqcnir_arch.errors import UserError


def main(arguments: Sequence[str]) -> None:
    """Write the report.

    Raises:
        UserError: bad input, one line each; nothing has been written then.
    """
    parser = argparse.ArgumentParser(prog="vqcnir report", description=__doc__, allow_abbrev=False)
    parser.add_argument("experiments", nargs="*", help="experiments/NAME of a training, results/NAME of a test")
    parser.add_argument("--tb", metavar="DIR", help="folder of the event files (default: tb_logger beside experiments)")
    parser.add_argument(
        "--results", metavar="NAME=DIR", nargs="+", action="extend", default=[],
        help="restored images <video>/<frame>.png, or results/NAME of a test; with the values of `vqcnir evaluate`",
    )  # fmt: skip
    parser.add_argument("--protocol", metavar="NAME", help="which evaluation's values, where there are several")
    parser.add_argument("--gt", metavar="DIR", help="ground truths of the results")
    parser.add_argument("--lq", metavar="DIR", help="inputs of the results")
    parser.add_argument(
        "--crop", metavar="NAME:x,y,w,h", nargs="+", action="extend", default=[],
        help="window to show of all versions of an image, as a PNG beside the page, too",
    )  # fmt: skip
    parser.add_argument("--images", type=positive, default=4, help="best and worst images to show, each (default: 4)")
    parser.add_argument("--rank", metavar="METRIC", help="what makes an image good (default: PSNR)")
    parser.add_argument(
        "--measure", metavar="N", type=positive, default=100,
        help="images to measure of each results folder without values, evenly spread (default: 100)",
    )  # fmt: skip
    parser.add_argument("--out", default="report.html", help="the page (default: report.html)")
    known = parser.parse_args(arguments)
    for library in ("jinja2", "plotly"):
        if find_spec(library) is None:
            raise UserError(f"vqcnir report needs {library}: pip install 'vqcnir[report]'")
    make_report(known)


def make_report(known: argparse.Namespace) -> None:
    """Read, measure, render, and only then write page and crops; print where they are."""
    from vqcnir_arch.report.experiments import read_experiments
    from vqcnir_arch.report.page import render, write_all
    from vqcnir_arch.report.results import measure, read_results, read_side

    out = Path(known.out).expanduser()
    if not known.experiments and not known.results:
        raise UserError("nothing to report: name experiment folders, --results NAME=DIR, or both")
    if out.is_dir():
        raise UserError(f"--out '{out}' is a folder, expected a file such as '{out / 'report.html'}'")
    if not known.results:
        for flag in ("gt", "lq", "crop", "rank", "protocol"):
            if getattr(known, flag):
                raise UserError(f"--{flag} is about results: add --results NAME=DIR")
    experiments = read_experiments(known.experiments, known.tb)
    results = read_results(known.results, known.protocol)
    truths = read_side(known.gt, "--gt", results) if known.gt else None
    inputs = read_side(known.lq, "--lq", results) if known.lq else None
    for each in results:
        if truths is not None and not each.values:
            measure(each, truths, known.measure)
    pictures, crop_files = collect_pictures(known, results, inputs, truths, out)
    page = render(experiments, results, pictures)
    write_all({**crop_files, out: page})
    for experiment in experiments:
        for note in experiment.notes:
            print(f"note: {experiment.name}: {note}")
    print(f"written to {out} ({len(page) / 2**20:.1f} MiB)" + "".join(f"\n           {path}" for path in crop_files))


def collect_pictures(
    known: argparse.Namespace,
    results: Sequence[Any],
    inputs: dict[str, Path] | None,
    truths: dict[str, Path] | None,
    out: Path,
) -> tuple[dict[str, Any], dict[Path, bytes]]:
    """Return what the page shows of the results, and the PNG files of the crops."""
    from vqcnir_arch.report import pictures as pics
    from vqcnir_arch.report.results import best_and_worst, rank_metric

    content: dict[str, Any] = {"groups": {}, "rank": None, "crops": [], "has_truth": truths is not None}
    files: dict[Path, bytes] = {}
    if not results:
        return content, files
    versions = pics.all_versions(inputs, results, truths)
    crops = [pics.parse_crop(text, results[0].files) for text in known.crop]
    content["rank"] = rank_metric(results[0], known.rank)
    for title, names in best_and_worst(results[0], content["rank"], known.images).items():
        content["groups"][title] = [
            {
                "name": name,
                "shown": [pics.shown(version, image) for version, image in pics.read_images(versions, name).items()],
                "values": {each.name: {m: v[name] for m, v in each.values.items() if name in v} for each in results},
            }
            for name in names
        ]
    for crop in crops:
        cut = pics.cut_versions(crop, versions)
        file = out.with_name(f"{out.stem}_{crop.file_name}")
        files[file] = pics.side_by_side(cut)
        shown = [(title, pics.data_uri("png", pics.png(image))) for title, image in cut.items()]
        content["crops"].append({"crop": crop, "file": file.name, "shown": shown})
    return content, files
