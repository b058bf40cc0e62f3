"""The study's numbers: means, spreads and paired differences over seeds, as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from vqcnir_arch.demo.baselines import apply_gamma, fit_gamma, read, score
from vqcnir_arch.study.rows import BASE, ROWS
from vqcnir_arch.study.runs import StudyRun, result_path

METRICS = ("psnr", "ssim")
CONFIDENCE = 0.95
COSTS = ("step_seconds", "memory_mb", "parameters", "trainable")
Study = dict[str, Any]


def collect(out: Path, runs: Sequence[StudyRun], costs: dict[str, dict[str, float]], iterations: int) -> Study:
    """Gather the results of all runs.

    Returns:
        `iterations`, `seeds`, `torch`, `machine`, `references` (what needs no network) and `rows`: for each variant,
        per metric, the value of each seed, `mean`, `sd`, and the paired difference to the base (`difference`).
    """
    results = {run: json.loads(result_path(out, run).read_text(encoding="utf-8")) for run in runs}
    seeds = sorted({run.seed for run in runs})
    rows = []
    for name in dict.fromkeys(run.variant for run in runs):
        row: Study = {"name": name, "group": ROWS[name].group, "what": ROWS[name].what}
        for metric in METRICS:
            values, base = ([results[StudyRun(v, seed)][metric] for seed in seeds] for v in (name, BASE))
            row[metric] = {"seeds": values, "mean": mean(values), "sd": stdev(values) if len(seeds) > 1 else None}
            row[metric]["difference"] = None if name == BASE else paired(values, base)
        row["run_seconds"] = mean(results[StudyRun(name, seed)]["seconds"] for seed in seeds)
        rows.append({**row, **costs.get(name, {})})
    return {
        "iterations": iterations,
        "seeds": seeds,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "references": references(out / "data"),
        "rows": rows,
    }


def paired(values: Sequence[float], base: Sequence[float]) -> dict[str, Any]:
    """Compare a variant with the base, seed by seed.

    Returns:
        `seeds`, `mean`, `min`, `max` of the differences, and `interval`, half the width of the 95 % interval of their
        mean (Student's t), None for a single seed.
    """
    from scipy.stats import t

    differences = [value - other for value, other in zip(values, base, strict=True)]
    count = len(differences)
    half = None
    if count > 1:
        half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * stdev(differences) / count**0.5
    return {
        "seeds": differences,
        "mean": mean(differences),
        "min": min(differences),
        "max": max(differences),
        "interval": half,
    }


def verdict(difference: dict[str, Any] | None) -> str:
    """Return `**` if the interval leaves zero out, `*` if all seeds have the same sign, else nothing."""
    if difference is None or difference["interval"] is None:
        return ""
    if abs(difference["mean"]) > difference["interval"]:
        return " **"
    return " *" if difference["min"] > 0 or difference["max"] < 0 else ""


def references(data: Path) -> dict[str, dict[str, float]]:
    """Score the held-out inputs as they are, and with the one gamma curve that fits the training pairs best."""
    pairs = {}
    for split in ("train", "test"):
        inputs = sorted((data / split / "low_blur_noise").rglob("*.png"))
        truths = [data / split / "high_sharp_scaled" / p.relative_to(data / split / "low_blur_noise") for p in inputs]
        pairs[split] = [read(p) for p in inputs], [read(p) for p in truths]
    gamma = fit_gamma(*pairs["train"])
    found = {}
    for name, exponent in (("input", 1.0), ("one gamma curve", gamma)):
        scores = [score(apply_gamma(x, exponent), y) for x, y in zip(*pairs["test"], strict=True)]
        found[name] = {metric: mean(each) for metric, each in zip(METRICS, zip(*scores, strict=True), strict=True)}
    return found


def table(study: Study) -> str:
    """Return the study as a Markdown table with its legend."""
    seeds = len(study["seeds"])
    lines = [
        "| varied | variant | PSNR, dB | SSIM | PSNR against VQCNIR | SSIM against VQCNIR | s/step | MB | parameters |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, scores in study["references"].items():
        lines.append(f"| no network | {name} | {scores['psnr']:.2f} | {scores['ssim']:.3f} | | | | | |")
    for row in study["rows"]:
        cells = [row["group"], f"{row['what']} (`{row['name']}`)"]
        for metric, digits in (("psnr", 2), ("ssim", 3)):
            spread = "" if row[metric]["sd"] is None else f" ± {row[metric]['sd']:.{digits}f}"
            cells.append(f"{row[metric]['mean']:.{digits}f}{spread}")
        cells += [difference_cell(row[metric]["difference"], digits) for metric, digits in (("psnr", 2), ("ssim", 3))]
        if "step_seconds" in row:
            cells += [f"{row['step_seconds']:.3f}", f"{row['memory_mb']:.0f}", f"{row['parameters']:,}"]
        else:
            cells += ["", "", ""]
        lines.append(f"| {' | '.join(cells)} |")
    legend = (
        f"{study['iterations']} iterations. PSNR and SSIM: mean ± standard deviation over {seeds} seed"
        f"{'s' if seeds > 1 else ''}. Against VQCNIR: mean of the differences seed by seed [smallest, largest]; `**`: "
        "their 95 % interval (Student's t) leaves zero out, `*`: all seeds have the same sign. s/step: median on one "
        "thread, all variants in turn. MB: what building the model and two steps add to a process."
    )
    return "\n".join([*lines, "", legend]) + "\n"


def difference_cell(difference: dict[str, Any] | None, digits: int) -> str:
    if difference is None:
        return ""
    mean_text, low, high = (f"{difference[key]:+.{digits}f}" for key in ("mean", "min", "max"))
    return f"{mean_text} [{low}, {high}]{verdict(difference)}"


def csv_table(study: Study) -> str:
    """Return the study as CSV, one line per variant."""
    columns = ["name", "group", "what"]
    columns += [f"{metric}_{part}" for metric in METRICS for part in ("mean", "sd", *map(str, study["seeds"]))]
    columns += [f"{metric}_difference_{part}" for metric in METRICS for part in ("mean", "min", "max", "interval")]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, "run_seconds", *COSTS], lineterminator="\n")
    writer.writeheader()
    for row in study["rows"]:
        cells = {key: row.get(key) for key in ("name", "group", "what", "run_seconds", *COSTS)}
        for metric in METRICS:
            cells |= {f"{metric}_{part}": row[metric][part] for part in ("mean", "sd")}
            cells |= {f"{metric}_{seed}": v for seed, v in zip(study["seeds"], row[metric]["seeds"], strict=True)}
            difference = row[metric]["difference"] or {}
            cells |= {f"{metric}_difference_{p}": difference.get(p) for p in ("mean", "min", "max", "interval")}
        writer.writerow(cells)
    return text.getvalue()
