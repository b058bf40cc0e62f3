"""The images to analyse, each as the network and the prior see it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor
from tqdm import tqdm

from vqcnir_arch.analysis.probe import ForwardPass, Probe, truth_run
from vqcnir_arch.data.files import check_pairs, existing_folder, find_images, read_image, size, to_image, to_tensor
from vqcnir_arch.errors import UserError
from vqcnir_arch.metrics.pyiqa_metric import calculate_pyiqa
from vqcnir_arch.metrics.quality import psnr, ssim

SSIM_WINDOW = 11
SHOWN = 4


@dataclass
class View:
    """One image, and what the networks make of it; every run is made once, when it is first asked for.

    Attributes:
        name: as of `find_images`.
        lq, gt: [H, W, 3] BGR uint8; None where there is none.
        net: the restoration network; None if a prior alone is analysed.
        prior: the prior; None if it is not known.
        shown: whether the figures show it.
        lpips: whether scores hold LPIPS, too.
    """

    name: str
    lq: np.ndarray | None
    gt: np.ndarray | None
    net: Probe | None
    prior: Probe | None
    shown: bool = False
    lpips: bool = False

    @cached_property
    def lq_tensor(self) -> Tensor:
        return to_tensor(self.lq)[None]

    @cached_property
    def gt_tensor(self) -> Tensor:
        return to_tensor(self.gt)[None]

    @cached_property
    def restored(self) -> ForwardPass:
        """The network on the degraded image."""
        return self.net.run(self.lq_tensor)

    @cached_property
    def restored_clean(self) -> ForwardPass:
        """The network on the clean image, shrunk (bicubic, antialiased) to the input's size where it magnifies."""
        clean = self.gt_tensor
        if self.net.net.scale != 1:
            from basicsr.utils.matlab_functions import imresize

            clean = imresize(clean[0], 1 / self.net.net.scale)[None].clamp(0, 1)
        return self.net.run(clean)

    @cached_property
    def truth(self) -> ForwardPass:
        """The prior on the clean image: the ground-truth codes, on the grid of the restoration network."""
        return self.decode_truth(None)

    def decode_truth(self, features: Sequence[Tensor] | None) -> ForwardPass:
        """The prior on the clean image, its decoder being given other features, one map per codebook."""
        return truth_run(self.prior, self.gt_tensor, self.net.net if self.net else None, features)

    @cached_property
    def prior_on_lq(self) -> ForwardPass:
        """The prior on the degraded image."""
        return self.prior.run(self.lq_tensor)

    def score(self, image: Tensor, truth: np.ndarray) -> dict[str, float]:
        """Return PSNR (dB) and SSIM of [1, 3, H, W] in 8 bit, on RGB and Y as BasicSR computes them, and LPIPS."""
        restored = to_image(image[0])
        scores = {
            "psnr": psnr(restored, truth),
            "ssim": ssim(restored, truth),
            "psnr_y": psnr(restored, truth, test_y_channel=True),
            "ssim_y": ssim(restored, truth, test_y_channel=True),
        }
        if self.lpips:
            scores["lpips"] = calculate_pyiqa(restored, truth, metric="lpips")
        return {name: float(value) for name, value in scores.items()}


class AnalysisPart:
    """One part of the analysis.

    It is shown all views, one after the other, and then asked for its result, its table and its figures.
    """

    title: ClassVar[str]

    def add(self, view: View) -> None:
        """Take in one image."""
        raise NotImplementedError

    def result(self) -> dict:
        """Return what was found as JSON takes it; empty if there is nothing."""
        raise NotImplementedError

    def lines(self) -> list[str]:
        """Return what was found as lines of Markdown."""
        raise NotImplementedError

    def draw(self, out: Path) -> None:
        """Write the figures into a folder."""


def find_pairs(
    lq: Path | None, gt: Path | None, max_images: int
) -> tuple[list[tuple[str, Path | None, Path | None]], int]:
    """Pair the images of two folders by name and take at most `max_images` (0: all), evenly over the sorted names.

    Returns:
        (name, input, ground truth) of each, and how many there are in all.

    Raises:
        UserError: a folder is missing or empty, or they do not pair.
    """
    inputs = find_images(existing_folder(lq, "--data")) if lq else {}
    truths = find_images(existing_folder(gt, "--gt")) if gt else {}
    if inputs and truths:
        check_pairs(inputs, truths, "--data and --gt")
    names = list(inputs or truths)
    chosen = names
    if 0 < max_images < len(names):
        chosen = [names[i * len(names) // max_images] for i in range(max_images)]
    return [(name, inputs.get(name), truths.get(name)) for name in chosen], len(names)


def read_views(
    pairs: list[tuple[str, Path | None, Path | None]], net: Probe | None, prior: Probe | None, lpips: bool = False
) -> Iterator[View]:
    """Read the images one after the other.

    Raises:
        UserError: an image cannot be read, is too small for SSIM, or has not `scale` times the size of its input.
    """
    scale = net.net.scale if net else 1
    shown = {i * len(pairs) // SHOWN for i in range(SHOWN)}
    for number, (name, lq_path, gt_path) in enumerate(tqdm(pairs, desc="analysing", unit="image")):
        lq = read_image(lq_path) if lq_path else None
        gt = read_image(gt_path) if gt_path else None
        for path, image in ((lq_path, lq), (gt_path, gt)):
            if image is not None and min(image.shape[:2]) < SSIM_WINDOW:
                raise UserError(f"image '{path}' is {size(image)}: SSIM needs {SSIM_WINDOW} x {SSIM_WINDOW}")
        if lq is not None and gt is not None and gt.shape[:2] != (lq.shape[0] * scale, lq.shape[1] * scale):
            raise UserError(
                f"'{gt_path}' is {size(gt)}, expected {scale} times the size of its input '{lq_path}', {size(lq)}"
            )
        yield View(name, lq, gt, net, prior, number in shown, lpips)


SCORES = {"psnr": ("PSNR", 2), "ssim": ("SSIM", 4), "psnr_y": ("PSNR (Y)", 2), "ssim_y": ("SSIM (Y)", 4),
          "lpips": ("LPIPS", 4)}  # fmt: skip
"""Titles and digits of what `View.score` gives."""


def score_header(scores: dict[str, float]) -> list[str]:
    """Return the columns' titles of the scores that there are."""
    return [title for name, (title, _) in SCORES.items() if name in scores]


def score_cells(scores: dict[str, float]) -> list[str]:
    """Return the same columns' numbers."""
    return [f"{scores[name]:.{digits}f}" for name, (_, digits) in SCORES.items() if name in scores]


def mean_scores(scores: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean over images of each score."""
    return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}


def as_picture(image: Tensor) -> np.ndarray:
    """Turn [1, 3, H, W] into [H, W, 3] RGB uint8."""
    return to_image(image[0])[..., ::-1]


def markdown(header: list[str], rows: list[list[str]]) -> list[str]:
    """Return a Markdown table as lines."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
