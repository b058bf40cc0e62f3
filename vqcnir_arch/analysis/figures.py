"""The analysis's figures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

DPI = 110
LINES = 60  # of the embedding: with more one sees nothing
NAMES = {"input": "feature of the input", "truth": "feature of the clean image"}


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    figure.savefig(path, dpi=DPI)


def bare(axis: Axes) -> None:
    """Take the ticks off an axis."""
    axis.set_xticks([])
    axis.set_yticks([])


def save_grid(path: Path, rows: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Write rows of RGB images, each under its title; all rows have the titles of the first. No rows, no file."""
    if not rows:
        return
    titles = list(rows[0])
    shape = next(iter(rows[0].values())).shape
    width = 2.2
    height = width * shape[0] / shape[1]
    figure = Figure(figsize=(width * len(titles), height * len(rows) + 0.7), layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for number, (line, row) in enumerate(zip(axes, rows, strict=True)):
        for axis, title in zip(line, titles, strict=True):
            axis.imshow(row[title])
            bare(axis)
            if number == 0:
                axis.set_title("\n".join(textwrap.wrap(title, 24)), fontsize=8)
    save(figure, path)


def save_usage(path: Path, counts: Mapping[str, Tensor]) -> None:
    """Write how often each code is used, most frequent first, one curve per source."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axis = figure.subplots()
    for title, values in counts.items():
        share = np.sort(values.double().numpy() / values.sum().item())[::-1]
        used = int((share > 0).sum())
        axis.plot(np.arange(1, used + 1), share[:used], label=f"{title}: {used} of {len(share)} codes")
    axis.set(xlabel="code, most frequent first", ylabel="share of the positions", yscale="log")
    axis.set_xlim(0, max(len(values) for values in counts.values()) + 1)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    save(figure, path)


def save_embedding(
    path: Path, method: str, codes: np.ndarray, features: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]
) -> None:
    """Write the embedding of codes and features; equal colours choose the same code.

    Args:
        path: PNG to write.
        method: name of the embedding.
        codes: places of the codes, [K, 2].
        features: places of the features by kind, [N, 2] each.
        data: what `Embedding.data` gives; from it the codes that the features choose.
    """
    figure = Figure(figsize=(8.5, 7.5), layout="constrained")
    axis = figure.subplots()
    chosen = np.unique(np.concatenate([data[f"{kind}_codes"] for kind in features]))
    colour = {code: i / max(1, len(chosen) - 1) for i, code in enumerate(np.random.default_rng(0).permutation(chosen))}
    first = next(iter(features))
    drawn = np.linspace(0, len(features[first]) - 1, min(LINES, len(features[first]))).astype(int)
    starts = features[first][drawn]
    segments(axis, starts, codes[data[f"{first}_codes"][drawn]], "0.55", "own code")
    if first == "input" and "truth_codes" in data:
        segments(axis, starts, codes[data["truth_codes"][drawn]], "tab:red", "ground-truth code")
    rest = np.setdiff1d(np.arange(len(codes)), chosen)
    axis.scatter(*codes[rest].T, s=18, marker="*", color="0.8", label=f"code not chosen here ({len(rest)})")
    colours = [colour[code] for code in chosen]
    axis.scatter(
        *codes[chosen].T, s=90, marker="*", c=colours, cmap="hsv", edgecolors="k", linewidths=0.5, zorder=3,
        label=f"code chosen here ({len(chosen)})",
    )  # fmt: skip
    for kind, marker in (("input", "o"), ("truth", "^")):
        if kind in features:
            colours = [colour[code] for code in data[f"{kind}_codes"]]
            axis.scatter(*features[kind].T, s=16, marker=marker, c=colours, cmap="hsv", vmin=0, vmax=1, alpha=0.8,
                         label=NAMES[kind], zorder=2)  # fmt: skip
    axis.legend(fontsize=8)
    axis.set_title({"tsne": "t-SNE", "umap": "UMAP"}[method])
    bare(axis)
    save(figure, path)


def segments(axis: Axes, starts: np.ndarray, ends: np.ndarray, colour: str, label: str) -> None:
    """Draw dashed lines from [N, 2] to [N, 2]."""
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis.plot(*np.stack([start, end]).T, "--", color=colour, linewidth=0.6, zorder=1,
                  label=label if number == 0 else None)  # fmt: skip


def save_attention_matrices(path: Path, pictures: Sequence[Mapping[str, Any]]) -> None:
    """Write the first layer's map of the first positions and codes, as SinCA's figure 7 does."""
    figure = Figure(figsize=(9, 3.4 * len(pictures)), layout="constrained")
    axes = figure.subplots(len(pictures), 2, squeeze=False, width_ratios=(1, 2))
    for line, picture in zip(axes, pictures, strict=True):
        line[0].imshow(picture["image"])
        line[0].set_title(picture["title"], fontsize=9)
        bare(line[0])
        shown = line[1].imshow(picture["matrix"], aspect="auto", cmap="viridis", interpolation="nearest")
        own = picture["own_columns"]
        if 0 < own < picture["matrix"].shape[1]:
            line[1].axvline(own - 0.5, color="w", linewidth=1)
        codes = picture["matrix"].shape[1] - own
        parts = [f"{own} positions"] * bool(own) + [f"{codes} codes"] * bool(codes)
        line[1].set(xlabel=f"the first {' | the first '.join(parts)}", ylabel="position asking")
        line[1].set_title("attention map of the first layer, mean over heads", fontsize=9)
        figure.colorbar(shown, ax=line[1])
    save(figure, path)


def save_attention(path: Path, picture: Mapping[str, Any]) -> None:
    """Write, for each layer and chosen position, the self part as a map and the code part as sorted weights."""
    layers, queries = picture["layers"], picture["queries"]
    columns = len(queries) + 1
    figure = Figure(figsize=(2.6 * columns, 2.4 * (len(layers) + 1)), layout="constrained")
    axes = figure.subplots(len(layers) + 1, columns, squeeze=False)
    for axis in axes[0]:
        axis.set_axis_off()
    axes[0, 0].imshow(picture["image"])
    axes[0, 0].set_title(picture["title"], fontsize=9)
    for number, (x, y) in enumerate(queries):
        axes[0, 0].plot(x, y, "o", color=f"C{number}", markeredgecolor="w")
    for number, (own, on_codes) in enumerate(layers, 1):
        axis = axes[number, 0]
        axis.set_ylabel(f"layer {number}", fontsize=9)
        for query, weights in enumerate(on_codes):
            if len(weights):
                axis.plot(np.sort(weights)[::-1], color=f"C{query}")
        if on_codes.shape[1]:
            axis.set_yscale("log")
            axis.set_title("code part, sorted", fontsize=8)
        for query, axis in enumerate(axes[number, 1:]):
            bare(axis)
            if own is None:
                axis.set_axis_off()
                continue
            axis.imshow(own[query], cmap="magma")
            share = own[query].sum()
            axis.set_title(f"position {query + 1}, self part {share:.0%}", fontsize=8, color=f"C{query}")
    save(figure, path)


def save_weights(path: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Write the histogram of VR's weights, and the share of |w| in the n largest, per quantizer ([N, K])."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    histogram, cumulative = figure.subplots(1, 2)
    for name, values in weights.items():
        histogram.hist(values.ravel(), bins=101, density=True, histtype="step", label=name)
        share = np.sort(np.abs(values), axis=1)[:, ::-1]
        share = np.cumsum(share, axis=1) / share.sum(axis=1, keepdims=True)
        low, middle, high = np.percentile(share, [10, 50, 90], axis=0)
        count = np.arange(1, share.shape[1] + 1)
        cumulative.plot(count, middle, label=name)
        cumulative.fill_between(count, low, high, alpha=0.3)
    count = np.arange(1, next(iter(weights.values())).shape[1] + 1)
    cumulative.plot(count, count / len(count), ":", color="0.5", label="all equal")
    histogram.set(xlabel="weight", ylabel="density", yscale="log")
    cumulative.set(xlabel="n", ylabel="share of |w| in the n largest", ylim=(0, 1), xscale="log")
    for axis in (histogram, cumulative):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    save(figure, path)
