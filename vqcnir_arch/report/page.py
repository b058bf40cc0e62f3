"""The HTML page: filled in from its template, with everything that it needs inside."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from vqcnir_arch.atomic_files import atomic_write, make_folder
from vqcnir_arch.errors import UserError
from vqcnir_arch.report import charts
from vqcnir_arch.report.experiments import Experiment, differing_options
from vqcnir_arch.report.results import Results, lower_is_better
from vqcnir_arch.version import __version__

ASSETS = files("vqcnir_arch.report") / "assets"
LIMIT = 64 * 2**20
"""Bytes of a page: more makes browsers slow."""

SUMMARY_OPTIONS = {"model": "model_type", "network": "network_g: type", "quantizer": "network_g: quantizer: type"}
SUMMARY_CURVES = ("codebook_usage", "perplexity", "images_per_s")


def asset(name: str) -> Markup:
    """Read a style or script that goes into the page; a pointer to a source map would be an address to load."""
    lines = (ASSETS / name).read_text(encoding="utf-8").splitlines()
    return Markup("\n".join(line for line in lines if not line.startswith("//# sourceMappingURL")))


def render(experiments: Sequence[Experiment], results: Sequence[Results], pictures: Mapping[str, Any]) -> bytes:
    """Return the page.

    Args:
        experiments: the runs.
        results: the folders of images, measured.
        pictures: `groups` (title to cards), `rank` (metric of the order), `crops` and `has_truth`.

    Raises:
        UserError: the page would be larger than `LIMIT`.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vqcnir_arch.report", "assets"), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    axes = charts.scatter_axes(results)
    page = environment.get_template("report.html.j2").render(
        title=", ".join([e.name for e in experiments] or [r.name for r in results]),
        made=f"{datetime.now():%Y-%m-%d %H:%M}",
        maker=f"vqcnir {__version__}, Python {platform.python_version()}",
        experiments=experiments, results=results, asset=asset, plotly=Markup(get_plotlyjs()),
        summary=summary(experiments), differing=differing_options(experiments),
        legend=charts.legend([e.name for e in experiments]), curves=charts.curve_charts(experiments),
        points=charts.POINTS, longest=max((len(c.steps) for e in experiments for c in e.curves.values()), default=0),
        result_table=result_table(results), result_legend=charts.legend([r.name for r in results]),
        axes=axes, scatter=charts.scatter(results, *axes) if axes else None, **pictures,
    ).encode()  # fmt: skip
    if len(page) > LIMIT:
        raise UserError(
            f"the page would have {len(page) / 2**20:.0f} MiB, more than {LIMIT >> 20}: take fewer --images or --crop"
        )
    return page


def summary(experiments: Sequence[Experiment]) -> dict[str, list[str]]:
    """Return the table across experiments: title of a column to the cells."""
    table = {"experiment": [e.name for e in experiments], "run": [e.kind for e in experiments]}
    for title, key in SUMMARY_OPTIONS.items():
        table[title] = [e.options.get(key, "-") for e in experiments]
    table["iterations"] = [f"{max(c.steps[-1] for c in e.curves.values()):,}" if e.curves else "-" for e in experiments]
    for metric in dict.fromkeys(metric for e in experiments for metric in e.metrics):
        table[metric] = [metric_cell(e, metric) for e in experiments]
    for tag in SUMMARY_CURVES:
        if any(tag in e.curves for e in experiments):
            table[tag] = [f"{e.curves[tag].last:.4g}" if tag in e.curves else "-" for e in experiments]
    table["began"] = [f"{e.began:%Y-%m-%d %H:%M}" for e in experiments]
    table["lasted"] = [str(e.ended - e.began) for e in experiments]
    return table


def metric_cell(experiment: Experiment, metric: str) -> str:
    """Return the last value of a metric, and the best one of a training."""
    if metric not in experiment.metrics:
        return "-"
    last, best, iteration = experiment.metrics[metric]
    return f"{last:.4f}" + (f" (best {best:.4f} @ {iteration})" if experiment.kind == "train" and best else "")


def result_table(results: Sequence[Results]) -> dict[str, list[tuple[str, bool]]]:
    """Return the means of each results folder: metric to (text, whether it is the best of several), in their order."""
    table = {}
    means = [each.means() for each in results]
    for metric in dict.fromkeys(metric for by_metric in means for metric in by_metric):
        known = [by_metric[metric][0] for by_metric in means if metric in by_metric]
        best = (min if lower_is_better(metric) else max)(known) if len(known) > 1 else None
        title = f"{metric} {'↓' if lower_is_better(metric) else '↑'}"
        table[title] = [
            (f"{by_metric[metric][0]:.4f}", by_metric[metric][0] == best) if metric in by_metric else ("-", False)
            for by_metric in means
        ]
    return table


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write files: none is in its place before all of them are whole.

    Raises:
        UserError: a file cannot be written.
    """
    with ExitStack() as stack:
        for path, content in contents.items():
            make_folder(path.parent)
            stack.enter_context(atomic_write(path)).write(content)
