"""The rows of `vqcnir bench`: cases, their figures, and the table."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from vqcnir_arch.archs import DeformConv2d, find_quantizers
from vqcnir_arch.bench import measure
from vqcnir_arch.bench.subjects import PEERS, Case, Unavailable, build_network, work_of

COLUMNS = ("network", "size", "precision", "time", "times as fast", "images/s", "peak memory", "GMAC/s", "of matmul",
           "codes that differ", "PSNR to fp32")  # fmt: skip


def cases_of(networks: Sequence[str], known: argparse.Namespace) -> list[Case]:
    """Return the rows: for each size each network, its reference first."""
    cases = []
    for shape, network in product(known.size, networks):
        if not known.no_reference:
            cases.append(Case(network, shape, known.batch, train=known.train, is_reference=True))
        cases += [Case(network, shape, known.batch, p, known.train) for p in known.precision]
    peers = product(known.size, PEERS if known.peers else (), known.precision)
    return cases + [Case(name, shape, known.batch, p, known.train) for shape, name, p in peers]


def run(cases: list[Case], device: torch.device, repeats: int, quiet: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure all cases; return the rows and a line for each that could not be measured."""
    nets: dict[str, nn.Module] = {}
    works: dict[Any, Callable[[], Any]] = {}
    memory, skipped = {}, []
    with tqdm(total=len(cases), desc="memory", disable=quiet) as bar:
        for case in cases:
            try:
                if case.network not in nets:
                    nets[case.network] = build_network(case.network, device)
                if case.is_reference and not uses_deformable_convolution(nets[case.network]):
                    continue
                memory[case] = measure.peak_memory(case, device)
                works[case] = work_of(case, nets[case.network], measure.night_image(case).to(device))
            except (Unavailable, RuntimeError, MemoryError, AssertionError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                skipped.append(f"{case.label}, {case.size[0]}x{case.size[1]}, {case.precision}: {reason}")
            bar.update()
    peaks = {dtype: measure.matmul_work(dtype, device) for dtype in {measure.dtype_of(case) for case in works}}
    with tqdm(total=(len(works) + len(peaks)) * (repeats + 1), desc="time", disable=quiet) as bar:
        taken = measure.time_all(peaks | works, device, repeats, bar.update)
    rows = []
    for case in works:
        peak = taken[measure.dtype_of(case)]
        reference = taken.get(Case(case.network, case.size, case.batch, train=case.train, is_reference=True))
        rows.append(row(case, nets[case.network], taken[case], reference, peak, memory[case], device))
    return rows, skipped


def uses_deformable_convolution(net: nn.Module) -> bool:
    """Whether a network has what the reference replaces."""
    return any(isinstance(module, DeformConv2d) for module in net.modules())


def row(
    case: Case,
    net: nn.Module,
    taken: list[float],
    reference: list[float] | None,
    peak: list[float],
    memory: tuple[int, int],
    device: torch.device,
) -> dict[str, Any]:
    """Return the figures of one case; units are in the names."""
    rate = measure.work_size(case, net) / 1e9 / median(taken)
    peak_rate = measure.MATMUL_SIZE[device.type] ** 3 / 1e9 / median(peak)
    figures = {
        "network": case.label, "height": case.size[0], "width": case.size[1], "batch": case.batch,
        "precision": case.precision, "train": case.train, "seconds": taken, "seconds_median": median(taken),
        "images_per_second": case.batch / median(taken), "peak_bytes": memory[0], "bytes_before": memory[1],
        "gmac_per_second": rate, "matmul_gmac_per_second": peak_rate,
    }  # fmt: skip
    if reference is not None:
        figures["times_as_fast"] = [r / t for r, t in zip(reference, taken, strict=True)]
    kinds = [quantizer.output_kind for quantizer in find_quantizers(net).values()]
    if case.precision != "fp32" and not case.train and kinds == ["codes"]:
        image = measure.night_image(case).to(device)
        figures["codes_that_differ"], figures["psnr_db"] = measure.agreement(net, image, case.precision)
    return figures


def machine(device: torch.device) -> str:
    """Return one line on what was measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    model = next((line.split(":")[1].strip() for line in cpu_facts() if line.startswith("model name")), "")
    units = [
        unit for unit in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if any(f" {unit}" in x for x in cpu_facts())
    ]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"torch {torch.__version__}, {name}, {model or platform.machine()} ({', '.join(units[:2])}){load}"


def cpu_facts() -> list[str]:
    """Return the lines in which Linux describes the processor; none elsewhere."""
    facts = Path("/proc/cpuinfo")
    return facts.read_text().splitlines() if facts.exists() else []


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the figures as a Markdown table: medians, least and most in brackets."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for r in rows:
        fast, codes = r.get("times_as_fast"), r.get("codes_that_differ")
        cells = [
            r["network"] + (", training step" if r["train"] else ""),
            f"{r['height']}x{r['width']}" + (f", batch {r['batch']}" if r["batch"] > 1 else ""),
            r["precision"],
            spread(r["seconds"], ".3f") + " s",
            spread(fast, ".2f") if fast else "",
            f"{r['images_per_second']:.3g}",
            f"{r['peak_bytes'] / 1e9:.2f} GB",
            f"{r['gmac_per_second']:.0f}",
            f"{100 * r['gmac_per_second'] / r['matmul_gmac_per_second']:.0f} %",
            f"{100 * codes:.2f} %" if codes is not None else "",
            f"{r['psnr_db']:.1f} dB" if codes is not None else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(values: Sequence[float], style: str) -> str:
    """Return the median with the least and the most."""
    return f"{median(values):{style}} ({min(values):{style}}..{max(values):{style}})"
