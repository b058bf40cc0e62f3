"""The study's picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from vqcnir_arch.study.rows import ROWS

PANELS = (("psnr", "PSNR against VQCNIR, dB"), ("ssim", "SSIM against VQCNIR"))


def save(path: Path, study: dict[str, Any]) -> None:
    """Draw the difference to VQCNIR of every variant: a dot per seed, a bar for the mean, a colour per group.

    The untrained prior is left out: it lies so far off that the others would be one line.
    """
    rows = [row for row in study["rows"] if row["psnr"]["difference"] and ROWS[row["name"]].trains]
    groups = list(dict.fromkeys(row["group"] for row in rows))
    colours = {group: f"C{i}" for i, group in enumerate(groups)}
    height = 1.6 + 0.3 * len(rows)
    figure, axes = plt.subplots(1, len(PANELS), figsize=(13, height), sharey=True, squeeze=False)
    for axis, (metric, title) in zip(axes[0], PANELS, strict=True):
        for place, row in enumerate(rows):
            difference, colour = row[metric]["difference"], colours[row["group"]]
            axis.barh(place, difference["mean"], color=colour, alpha=0.35)
            axis.plot(difference["seeds"], [place] * len(difference["seeds"]), "o", color=colour, markersize=4)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_xlabel(title)
        axis.grid(axis="x", alpha=0.3)
    axes[0, 0].set_yticks(range(len(rows)), [f"{row['group']}: {row['what']}" for row in rows], fontsize=8)
    axes[0, 0].invert_yaxis()
    figure.suptitle(
        f"{study['iterations']} iterations, {len(study['seeds'])} seeds (a dot each), bar: mean", fontsize=10
    )
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
