"""The demo's two pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from vqcnir_arch.training.metrics_log import read_metrics


def save_comparison(path: Path, columns: dict[str, Sequence[np.ndarray]], captions: Sequence[Sequence[str]]) -> None:
    """Write rows of images side by side.

    Args:
        path: PNG to write.
        columns: title to one BGR uint8 image per row.
        captions: for every row the line below each of its images.
    """
    rows = len(captions)
    heights = [3 * max(image.shape[0] / image.shape[1] for image in row) for row in zip(*columns.values(), strict=True)]
    size = (3 * len(columns), sum(heights) + 0.25 * rows)
    figure, axes = plt.subplots(rows, len(columns), figsize=size, height_ratios=heights, squeeze=False)
    for column, (title, images) in enumerate(columns.items()):
        axes[0, column].set_title(title, fontsize=13)
        for row in range(rows):
            axis = axes[row, column]
            axis.imshow(cv2.cvtColor(images[row], cv2.COLOR_BGR2RGB))
            axis.set_xlabel(captions[row][column], fontsize=9)
            axis.set_xticks([])
            axis.set_yticks([])
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def save_curves(path: Path, stages: dict[str, Path]) -> None:
    """Write one panel of loss curves per stage (title to the folder of the run)."""
    figure, axes = plt.subplots(1, len(stages), figsize=(6 * len(stages), 4), squeeze=False)
    for axis, (title, folder) in zip(axes[0], stages.items(), strict=True):
        lines = [line for line in read_metrics(folder) if line["kind"] == "training"]
        for name in dict.fromkeys(name for line in lines for name in line if name.startswith("l_")):
            points = [(line["iter"], line[name]) for line in lines if name in line]
            axis.plot(*zip(*points, strict=True), label=name.removeprefix("l_"))
        axis.set(title=title, xlabel="iteration", ylabel="loss", yscale="log")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
