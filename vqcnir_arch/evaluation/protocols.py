"""The named evaluation protocols as data: what is measured, on which channels, by which library and network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from vqcnir_arch.errors import UserError, nearest

PIXELS_8_BIT = "8 bit"
PIXELS_FLOAT = "float"


@dataclass(frozen=True)
class Column:
    """One column of a results table: a metric of a library with everything that changes its value.

    `way` names how the value comes about; two numbers compare only if theirs is the same (see `WAYS`).
    """

    name: str
    title: str
    way: str
    library: Literal["basicsr", "scikit-image", "pyiqa"]
    metric: str
    better: Literal["higher", "lower"]
    reference: Literal["image", "none", "set"] = "image"
    channels: Literal["RGB", "BGR"] = "RGB"
    options: Mapping[str, Any] = field(default_factory=dict)
    gt_mean: bool = False
    """Whether the result is first scaled to the ground truth's mean brightness, see `columns.scaled_to_mean`."""

    @property
    def arrow(self) -> str:
        return "↑" if self.better == "higher" else "↓"

    @property
    def settings(self) -> str:
        """Library, metric and options in one line; values measured under other settings are not mixed with these."""
        words = [f"{self.library} {self.metric}", *(f"{key}={value}" for key, value in self.options.items())]
        return " ".join(words) + (", fed BGR" if self.channels == "BGR" else "") + (", GT-mean" if self.gt_mean else "")


WAYS = {
    "psnr-rgb": "RGB",
    "psnr-y": "Y of BT.601 (16 to 235), as in BasicSR",
    "psnr-y-yiq": "Y of YIQ (0 to 255), pyiqa's default",
    "psnr-rgb-float": "RGB, float output, neither clamped nor quantised",
    "psnr-rgb-gtmean": "RGB, the result scaled to the mean grey of its ground truth and clipped",
    "psnr-unsaid": "the source does not say on which channels, nor whether results are scaled to the truth's mean",
    "ssim-rgb": "RGB, mean over the channels",
    "ssim-y": "Y of BT.601, as in BasicSR",
    "ssim-y-yiq": "Y of YIQ rounded to integers, pyiqa's `ssim`",
    "ssim-y-yiq-bgr": "pyiqa's `ssim` (Y of YIQ) on images fed as BGR",
    "ssim-rgb-float": "RGB, 11x11 Gaussian window, float output",
    "ssim-rgb-gtmean": "RGB, the result scaled to the mean grey of its ground truth and clipped",
    "ssim-y-or-rgb": "Y or RGB: the paper does not say which",
    "ssim-unsaid": "the source does not say on which channels, by which code",
    "lpips-alex": "AlexNet, v0.1, input in [-1, 1]",
    "lpips-vgg": "VGG16, v0.1, input in [-1, 1]",
    "lpips-vgg-bgr": "VGG16, v0.1, input in [-1, 1], fed BGR",
    "lpips-vgg-01": "VGG16, v0.1, fed [0, 1] where the net expects [-1, 1]",
    "lpips-unsaid": "the paper does not say which net",
    "niqe": "Y of BT.601, as in BasicSR",
    "niqe-pyiqa": "pyiqa's default (Y of YIQ)",
    "niqe-unsaid": "the paper does not say which implementation",
    "y-unsaid": "Y, the paper does not say which: BT.601 or YIQ (1.3 dB apart)",
    "musiq": "MUSIQ of pyiqa, KonIQ-10k",
    "nrqm": "NRQM of pyiqa",
    "brisque": "BRISQUE of pyiqa",
    "pi": "PI of pyiqa",
    "rgb-or-y": "RGB or Y: the paper does not say which",
    "fid": "FID of pyiqa (clean resize) against the reference set that is named",
    "fid-unsaid": "the paper does not name the reference set; DAEFR's repository lists Inception statistics which by "
    "their name are FFHQ's at 512 x 512",
}
"""How a value comes about, for our columns and for the papers' numbers."""


@dataclass(frozen=True)
class Protocol:
    """A way to evaluate a folder of results."""

    name: str
    summary: str
    columns: tuple[Column, ...]
    truths: Literal["required", "optional", "none"] = "required"
    pixels: Literal["8 bit", "float"] = PIXELS_8_BIT
    folders: str = "LOL-Blur test: input low_blur_noise, ground truth high_sharp_scaled, no scaling to the truth's mean"
    crop_border: int = 0


def _basicsr(name: str, title: str, way: str, metric: str, better: str = "higher", **options: Any) -> Column:
    reference = "none" if metric == "calculate_niqe" else "image"
    return Column(name, title, way, "basicsr", metric, better, reference, options=options)


def _gt_mean(column: Column) -> Column:
    """Return the column measured on results of their ground truth's mean brightness."""
    name, title = f"{column.name}_gtmean", f"{column.title.partition(' (')[0]} (GT-mean)"
    return replace(column, name=name, title=title, way=f"{column.way}-gtmean", gt_mean=True)


def _scikit(name: str, title: str, way: str, metric: str, **options: Any) -> Column:
    return Column(name, title, way, "scikit-image", metric, "higher", options={"data_range": 1.0, **options})


def _pyiqa(
    name: str,
    title: str,
    way: str,
    metric: str,
    better: str = "higher",
    reference: str = "image",
    channels: str = "RGB",
    **options: Any,
) -> Column:
    return Column(name, title, way, "pyiqa", metric, better, reference, channels, options)


PSNR = _basicsr("psnr", "PSNR", "psnr-rgb", "calculate_psnr")
SSIM = _basicsr("ssim", "SSIM (RGB)", "ssim-rgb", "calculate_ssim")
SSIM_Y = _basicsr("ssim_y", "SSIM (Y)", "ssim-y", "calculate_ssim", test_y_channel=True)
NIQE = _basicsr("niqe", "NIQE (BasicSR)", "niqe", "calculate_niqe", "lower")
NIQE_PYIQA = _pyiqa("niqe_pyiqa", "NIQE (pyiqa)", "niqe-pyiqa", "niqe", "lower", "none")
LPIPS = _pyiqa("lpips", "LPIPS (Alex)", "lpips-alex", "lpips", "lower")
LPIPS_VGG = _pyiqa("lpips_vgg", "LPIPS (VGG)", "lpips-vgg", "lpips-vgg", "lower")
PSNR_PYIQA = _pyiqa("psnr", "PSNR", "psnr-rgb", "psnr")
SSIM_PYIQA = _pyiqa("ssim_y", "SSIM (Y)", "ssim-y-yiq", "ssim")

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "lolblur",
            "LOL-Blur, everything stated: 8-bit PNG, no crop; PSNR and SSIM plain and with GT-mean",
            (PSNR, _gt_mean(PSNR), SSIM, _gt_mean(SSIM), SSIM_Y, LPIPS, LPIPS_VGG, NIQE),
            folders="LOL-Blur test: input low_blur_noise, ground truth high_sharp_scaled",
        ),
        Protocol(
            "real-lolblur",
            "Real-LOL-Blur, no reference, as in VQCNIR table 2; BasicSR's NIQE beside pyiqa's",
            (
                _pyiqa("musiq", "MUSIQ", "musiq", "musiq", reference="none"),
                _pyiqa("nrqm", "NRQM", "nrqm", "nrqm", reference="none"),
                NIQE_PYIQA,
                NIQE,
                _pyiqa("brisque", "BRISQUE", "brisque", "brisque", "lower", "none"),
                _pyiqa("pi", "PI", "pi", "pi", "lower", "none"),
            ),
            truths="none",
            folders="Real-LOL-Blur, all 1,354 images at their own size",
        ),
        Protocol(
            "bsr",
            "blind super-resolution, as SinCA section 6.1; pyiqa's Y beside BasicSR's",
            (
                _basicsr("psnr_y", "PSNR (Y)", "psnr-y", "calculate_psnr", test_y_channel=True),
                SSIM_Y,
                _pyiqa("psnr_y_yiq", "PSNR (Y of YIQ)", "psnr-y-yiq", "psnry"),
                LPIPS,
            ),
            folders="DIV2K valid, Urban100, BSDS100 or Manga109 against the originals",
        ),
        Protocol(
            "face",
            "blind face restoration, as SinCA section 6.1; NIQE of both libraries",
            (
                PSNR,
                SSIM,
                LPIPS,
                _pyiqa("fid", "FID", "fid", "fid", "lower", "set"),
                NIQE,
                NIQE_PYIQA,
            ),
            truths="optional",
            folders="CelebA-Test with ground truth, or a real set such as CelebChild-Test without",
        ),
        Protocol(
            "lednet",
            "as LEDNet and LIEDNet measured: PNG read by OpenCV, channels never swapped",
            (
                _pyiqa("psnr", "PSNR", "psnr-rgb", "psnr", channels="BGR"),
                _pyiqa("ssim_y", "SSIM (Y, fed BGR)", "ssim-y-yiq-bgr", "ssim", channels="BGR"),
                _pyiqa("lpips_vgg", "LPIPS (VGG, fed BGR)", "lpips-vgg-bgr", "lpips-vgg", "lower", channels="BGR"),
            ),
        ),
        Protocol(
            "darkir",
            "as DarkIR measured: float output, LPIPS fed [0, 1]",
            (
                _scikit("psnr", "PSNR (float)", "psnr-rgb-float", "peak_signal_noise_ratio"),
                _scikit(
                    "ssim",
                    "SSIM (RGB, float)",
                    "ssim-rgb-float",
                    "structural_similarity",
                    channel_axis=2,
                    gaussian_weights=True,
                    sigma=1.5,
                    use_sample_covariance=False,
                ),
                # pyiqa turns [0, 1] into [-1, 1] unless told not to: what the paper's call left out
                _pyiqa("lpips_vgg_01", "LPIPS (VGG, fed [0,1])", "lpips-vgg-01", "lpips-vgg", "lower", normalize=False),
            ),
            pixels=PIXELS_FLOAT,
        ),
        Protocol(
            "vqcnir-paper",
            "as VQCNIR's script measured: PNG read as RGB, pyiqa's psnr, ssim, ssimc and lpips (AlexNet)",
            (PSNR_PYIQA, SSIM_PYIQA, _pyiqa("ssim", "SSIM (RGB)", "ssim-rgb", "ssimc"), LPIPS),
        ),
    )
}


def find_protocol(name: str) -> Protocol:
    """Return the protocol called `name`, or raise `UserError` with the nearest right name."""
    if name not in PROTOCOLS:
        raise UserError(f"there is no protocol '{name}'{nearest(name, PROTOCOLS)}")
    return PROTOCOLS[name]
