"""Measure the demo's results and put them into a table and a picture."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

import torch
from basicsr.metrics import calculate_niqe
from basicsr.utils import img2tensor, tensor2img

from vqcnir_arch.archs.loading import load_network
from vqcnir_arch.demo import figures
from vqcnir_arch.demo.baselines import apply_gamma, fit_gamma, flat, read, score
from vqcnir_arch.models.code_usage import CodeUsage
from vqcnir_arch.packaged import DEFAULT

METHODS = ("input", "restored", "gamma", "best_gamma", "flat")
SHOWN = ("input", "restored", "shipped")
Row = dict[str, Any]


def measure(data: Path, results: Path, shipped: Path) -> list[Row]:
    """Score every held-out image: input, restored, one gamma, its own best gamma, flat.

    Args:
        data: root of the pairs in LOL-Blur's layout.
        results: folder of the restored images, `<video>/<frame>.png`.
        shipped: the same of the network that ships, for the picture alone.

    Returns:
        One row per image: its name, `<method>_psnr`, `<method>_ssim`, and the images themselves.
    """
    train_names = sorted(
        p.relative_to(data / "train/low_blur_noise") for p in (data / "train").rglob("low_blur_noise/*/*.png")
    )
    gamma = fit_gamma(
        [read(data / "train/low_blur_noise" / name) for name in train_names],
        [read(data / "train/high_sharp_scaled" / name) for name in train_names],
    )
    rows = []
    for path in sorted((data / "test/low_blur_noise").rglob("*.png")):
        name = path.relative_to(data / "test/low_blur_noise")
        image, truth = read(path), read(data / "test/high_sharp_scaled" / name)
        best = fit_gamma([image], [truth])
        images = {
            "input": image,
            "restored": read(results / name),
            "gamma": apply_gamma(image, gamma),
            "best_gamma": apply_gamma(image, best),
            "flat": flat(truth),
        }
        row: Row = {"name": name.with_suffix("").as_posix(), "gamma": gamma, "best_gamma": best, "truth": truth}
        for method, candidate in images.items():
            row[f"{method}_psnr"], row[f"{method}_ssim"] = score(candidate, truth)
        images["shipped"] = read(shipped / name)
        row["restored_niqe"] = float(calculate_niqe(images["restored"], crop_border=0))
        rows.append({**row, "images": images})
    return rows


def summarise(rows: list[Row]) -> dict[str, float]:
    """Return the mean of every score."""
    return {f"{m}_{metric}": mean(row[f"{m}_{metric}"] for row in rows) for m in METHODS for metric in ("psnr", "ssim")}


def measure_prior(checkpoint: Path, truths: Path) -> tuple[float, float]:
    """Return the prior's PSNR on the held-out truths and the share of its codes that they use."""
    prior = load_network(checkpoint)
    usage = CodeUsage(prior.quantizer.codebook.shape[0])
    scores = []
    for path in sorted(truths.rglob("*.png")):
        truth = read(path)
        tensor = img2tensor(truth.astype("float32") / 255, bgr2rgb=True, float32=True).unsqueeze(0)
        with torch.no_grad():
            image, codes = prior(tensor, return_codes=True)
        usage.add(codes.indices)
        scores.append(score(tensor2img([image]), truth)[0])
    return mean(scores), usage.read()["codebook_usage"]


def plain(rows: list[Row]) -> list[dict[str, Any]]:
    """Return the rows without their images."""
    return [{key: value for key, value in row.items() if key not in ("images", "truth")} for row in rows]


def table(rows: list[Row], summary: dict[str, float]) -> str:
    """Return the scores as a Markdown table: PSNR / SSIM of every method on every image."""
    lines = [
        "| held-out image | input | restored | one gamma | best gamma of each image | flat |",
        "|---|---|---|---|---|---|",
    ]
    for row in [*rows, {"name": "mean", **summary}]:
        cells = [f"{row[f'{m}_psnr']:.2f} / {row[f'{m}_ssim']:.3f}" for m in METHODS]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    over_input = summary["restored_psnr"] - summary["input_psnr"]
    over_gamma = summary["restored_psnr"] - summary["gamma_psnr"]
    lines += [
        "",
        f"Restored gains {over_input:.2f} dB over the input and {over_gamma:.2f} dB over one gamma curve fitted on the "
        f"training pairs. NIQE {summary['niqe']:.2f}. The prior alone reconstructs the held-out truth with "
        f"{summary['prior_psnr']:.2f} dB and uses {summary['codebook_usage']:.0%} of its codes for it. "
        f"{summary['seconds']:.0f} s.",
    ]
    return "\n".join(lines)


def save_comparison(path: Path, rows: list[Row], count: int) -> None:
    """Write input | trained here | shipped | truth of `count` images spread over the held-out ones."""
    shown = rows[:: max(1, len(rows) // count)][:count]
    titles = ("night input", "trained in the demo", f"{DEFAULT} (ships)")
    columns = {title: [row["images"][image] for row in shown] for title, image in zip(titles, SHOWN, strict=True)}
    columns["truth"] = [row["truth"] for row in shown]
    captions = [
        [*("{:.2f} dB / {:.3f}".format(*score(row["images"][image], row["truth"])) for image in SHOWN), row["name"]]
        for row in shown
    ]
    figures.save_comparison(path, columns, captions)
