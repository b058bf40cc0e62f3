"""The page's charts, as figures for plotly.js."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup
from matplotlib import style
from plotly import graph_objects as go

from vqcnir_arch.report.curves import Curve
from vqcnir_arch.report.experiments import Experiment
from vqcnir_arch.report.results import Results

POINTS = 2000
"""Of a curve, at most; the page says so."""
COLOURS = style.library["tableau-colorblind10"]["axes.prop_cycle"].by_key()["color"]
GROUPS = {
    "Validation": ("metrics/",),
    "Losses": ("losses/",),
    "Learning rate": ("lr_",),
    "Codebook": ("codebook_", "perplexity"),
}
OTHERS = "Discriminator, gradients, speed"


def colour(index: int) -> str:
    """Return the colour of the n-th experiment or results folder."""
    return COLOURS[index % len(COLOURS)]


def curve_charts(experiments: Sequence[Experiment]) -> dict[str, list[Markup]]:
    """Return one chart for each scalar with a line for each experiment, by group."""
    tags = dict.fromkeys(tag for experiment in experiments for tag in experiment.curves)
    charts: dict[str, list[Markup]] = {group: [] for group in (*GROUPS, OTHERS)}
    for tag in tags:
        group = next((group for group, begins in GROUPS.items() if tag.startswith(begins)), OTHERS)
        title = tag.removeprefix("losses/").removeprefix("metrics/")
        lines = [(e.name, colour(i), e.curves[tag]) for i, e in enumerate(experiments) if tag in e.curves]
        charts[group].append(curve_chart(title, lines, may_be_logarithmic=group == "Losses"))
    return {group: figures for group, figures in charts.items() if figures}


def curve_chart(title: str, lines: Sequence[tuple[str, str, Curve]], may_be_logarithmic: bool) -> Markup:
    """Draw curves (name, colour, curve); the axis is logarithmic where values over more than a decade are positive."""
    figure = go.Figure()
    values = [v for _, _, curve in lines for v in curve.values if math.isfinite(v)]
    for name, line_colour, curve in lines:
        few = curve.thinned(POINTS)
        mode = "lines+markers" if len(few.steps) <= 30 else "lines"
        style = {"line": {"color": line_colour, "width": 1.5}, "marker": {"size": 5}}
        figure.add_trace(go.Scatter(x=few.steps, y=few.values, name=name, mode=mode, **style))
    if may_be_logarithmic and values and min(values) > 0 and max(values) > 10 * min(values):
        figure.update_yaxes(type="log")
    return finished(figure, title, "iteration")


def scatter_axes(results: Sequence[Results]) -> tuple[str, str] | None:
    """Return the metrics of the scatter: PSNR against LPIPS, against SSIM where LPIPS is not there."""
    measured = [m for m in results[0].values if all(m in each.values for each in results)] if results else []
    found = [next((m for m in measured if m.startswith(begin)), None) for begin in ("psnr", "lpips", "ssim")]
    other = found[1] or found[2]
    return (found[0], other) if found[0] and other else None


def scatter(results: Sequence[Results], x: str, y: str) -> Markup:
    """Draw one point for each image of each results folder, and the mean of each as a diamond."""
    figure = go.Figure()
    for index, each in enumerate(results):
        names = [name for name in each.values[x] if name in each.values[y]]
        points = {axis: [each.values[axis][name] for name in names] for axis in (x, y)}
        marker = {"color": colour(index), "size": 7, "opacity": 0.7}
        style = {"mode": "markers", "name": each.name}
        figure.add_trace(go.Scatter(x=points[x], y=points[y], text=names, marker=marker, **style))
    for index, each in enumerate(results):
        means = each.means()
        if x in means and y in means:
            marker = {"color": colour(index), "size": 15, "symbol": "diamond", "line": {"width": 2, "color": "white"}}
            centre = {"x": [means[x][0]], "y": [means[y][0]]}
            figure.add_trace(go.Scatter(**centre, name=f"{each.name}, mean", mode="markers", marker=marker))
    figure.update_yaxes(title=y)
    return finished(figure, f"{x} against {y}, each image", x)


def finished(figure: go.Figure, title: str, x_title: str) -> Markup:
    """Return a figure as JSON that may stand in a page; the page's script adds the colours of its theme."""
    figure.update_layout(
        template="none", title={"text": title, "font": {"size": 14}, "x": 0.02}, showlegend=False, hovermode="closest",
        margin={"l": 56, "r": 12, "t": 36, "b": 44}, font={"size": 11, "family": "system-ui, sans-serif"},
        xaxis={"title": {"text": x_title, "font": {"size": 11}, "standoff": 6}},
    )  # fmt: skip
    figure.update_yaxes(exponentformat="power")
    return Markup(figure.to_json())  # plotly escapes <, > and / in it


def legend(names: Mapping[str, object] | Sequence[str]) -> list[tuple[str, str]]:
    """Return (name, colour) of each line."""
    return [(name, colour(index)) for index, name in enumerate(names)]
