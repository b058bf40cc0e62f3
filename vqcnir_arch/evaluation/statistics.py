"""Means over images with bootstrap confidence intervals, resampling videos where there are videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0


@dataclass(frozen=True)
class Mean:
    """A mean over `n` images; the interval is missing where there are fewer than two videos (or images)."""

    mean: float
    low: float | None
    high: float | None
    n: int


def unit(videos: Sequence[str]) -> str:
    """Return what is resampled: frames of one video are alike, and so not independent."""
    return "videos" if any(videos) else "images"


def mean_with_interval(values: Sequence[float], videos: Sequence[str]) -> Mean:
    """Return the mean over images and its 95 % percentile interval.

    Args:
        values: one per image.
        videos: the video of each; all empty where there are none. Whole videos are then resampled (cluster bootstrap):
            the resampled mean is the sum over the drawn videos' images over their number.
    """
    from scipy.stats import bootstrap

    values = np.asarray(values, np.float64)
    mean, n = float(values.mean()), len(values)
    groups = np.unique(np.asarray(videos), return_inverse=True)[1] if any(videos) else np.arange(n)
    if groups.max() == 0:
        return Mean(mean, None, None, n)
    sums, counts = np.bincount(groups, values), np.bincount(groups)
    interval = bootstrap(
        (sums, counts),
        lambda total, count, axis: total.sum(axis) / count.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=500,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return Mean(mean, float(interval.low), float(interval.high), n)
