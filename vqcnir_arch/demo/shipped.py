"""What the network that comes with this library makes of the held-out scenes and of the user's photographs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from statistics import mean

import torch

from vqcnir_arch.demo.baselines import read, score
from vqcnir_arch.errors import UserError
from vqcnir_arch.metrics.pyiqa_metric import WEIGHT_FILES, calculate_pyiqa
from vqcnir_arch.packaged import DEFAULT
from vqcnir_arch.restoration import command
from vqcnir_arch.restoration.inputs import find_tasks

Scores = dict[str, float | None]


def check_photos(photos: Path, out: Path) -> None:
    """Raise `UserError` unless `photos` is a photograph or a folder of some, outside of what the demo empties."""
    if photos.expanduser().resolve().is_relative_to(out):
        raise UserError(f"--photos '{photos}' lies in the demo's own folder '{out}': name another one")
    found = find_tasks([str(photos)], out / "photos")
    if all(task.is_video for task in found.tasks):
        raise UserError(f"--photos '{photos}' has no photograph that is not a result already")


def restore_folder(source: Path, target: Path) -> None:
    """Restore what lies in a folder by `vqcnir restore`, which says what it could not read; the demo goes on."""
    with contextlib.suppress(SystemExit):
        command.main([str(source), "-w", DEFAULT, "-o", str(target)])


def measure_shipped(data: Path, results: Path) -> Scores:
    """Return PSNR, SSIM and LPIPS, means over the held-out images, as `shipped_<metric>`.

    LPIPS is None where its weights are not at hand: nothing is downloaded.

    Args:
        data: root of the pairs in LOL-Blur's layout.
        results: folder of the restored images, `<video>/<frame>.png`.
    """
    truths = data / "test/high_sharp_scaled"
    pairs = [(read(results / p.relative_to(truths)), read(p)) for p in sorted(truths.rglob("*.png"))]
    psnr, ssim = zip(*(score(*pair) for pair in pairs), strict=True)
    lpips = mean(calculate_pyiqa(*pair, metric="lpips") for pair in pairs) if not missing_weights() else None
    return {"shipped_psnr": mean(psnr), "shipped_ssim": mean(ssim), "shipped_lpips": lpips}


def missing_weights() -> list[Path]:
    """Return the files that LPIPS lacks."""
    return [file for name in WEIGHT_FILES["lpips"] if not (file := Path(torch.hub.get_dir()) / name).is_file()]


def sentence(scores: Scores) -> str:
    """Say in a line how good the shipped network is on the held-out images."""
    lpips = scores["shipped_lpips"]
    if lpips is None:
        last = f"LPIPS not measured ({' and '.join(map(str, missing_weights()))} missing)"
    else:
        last = f"LPIPS {lpips:.3f}"
    return (
        f"{DEFAULT}, the network that comes with this library, on the held-out scenes: "
        f"{scores['shipped_psnr']:.2f} dB, SSIM {scores['shipped_ssim']:.3f}, {last}"
    )
