"""Time and memory of one layer of each quantizer against the image's size, up to 4K, at VQCNIR's size (d 512, K 1024).

    python scripts/quantizer_scaling.py --out docs          # writes quantizer_scaling.png and quantizer_scaling.md

Every measurement is a fresh process on one CPU thread: seconds of CPU time of a forward pass without gradient (the
median of --repeats), and by how many MB the pass raises the process's peak memory. A size is left out when the time of
the sizes before it says that it would take longer than --limit; nothing is extrapolated. `growth` is the exponent p of
N^p between the two largest sizes that were measured, N being the number of features (f8).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from vqcnir_arch.archs.quantizers import Quantizer
from vqcnir_arch.devices import peak_memory
from vqcnir_arch.registry import QUANTIZER_REGISTRY, build

CODES, DIM, STRIDE = 1024, 512, 8
SIZES = ((256, 256), (512, 512), (1120, 640), (1920, 1080), (2560, 1440), (3840, 2160))
ONE_LAYER = {"depth": 1}
QUANTIZERS = {
    # block, and the exponent that time should approach
    "NearestCode": ({"type": "NearestCode"}, 1),
    "CrossAttention": ({"type": "CrossAttention", **ONE_LAYER}, 1),
    "SelfAttention": ({"type": "SelfAttention", **ONE_LAYER}, 2),
    "SinCA": ({"type": "SinCA", **ONE_LAYER}, 2),
    "CodePrediction (SinCA)": ({"type": "CodePrediction", **ONE_LAYER}, 2),
    "VR conv": ({"type": "VectorRegression", "head": "conv"}, 1),
    "VR mlp": ({"type": "VectorRegression", "head": "mlp"}, 1),
    "VR linear": ({"type": "VectorRegression", "head": "linear"}, 1),
}
Row = dict[str, float]


def tokens(width: int, height: int) -> int:
    """Return the number of features of an image at f8."""
    return math.ceil(width / STRIDE) * math.ceil(height / STRIDE)


def measure_here(name: str, width: int, height: int, repeats: int) -> Row:
    """Measure one quantizer at one size in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    quantizer: Quantizer = build(QUANTIZER_REGISTRY, QUANTIZERS[name][0], codebook_size=CODES, code_dim=DIM).eval()
    features = torch.randn(1, DIM, math.ceil(height / STRIDE), math.ceil(width / STRIDE))
    seconds = []
    with torch.no_grad():
        quantizer(features[..., :4, :4])  # libraries load their code at the first use
        before = peak_memory()
        for _ in range(repeats):
            started = time.process_time()
            output = quantizer(features).output
            seconds.append(time.process_time() - started)
            del output
    return {
        "tokens": tokens(width, height),
        "seconds": statistics.median(seconds),
        "mb": (peak_memory() - before) / 2**20,
    }


def measure(name: str, width: int, height: int, repeats: int) -> Row:
    """Measure in a fresh process."""
    command = [sys.executable, __file__, "--one", name, str(width), str(height), "--repeats", str(repeats)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name} at {width}x{height}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_all(sizes: Sequence[tuple[int, int]], repeats: int, limit: float) -> dict[str, list[Row]]:
    """Measure every quantizer at the sizes that stay within `limit` seconds; print each as it comes."""
    found: dict[str, list[Row]] = {}
    for name, (_, exponent) in QUANTIZERS.items():
        rows = found.setdefault(name, [])
        for width, height in sizes:
            expected = rows[-1]["seconds"] * (tokens(width, height) / rows[-1]["tokens"]) ** exponent if rows else 0
            if expected > limit:
                print(f"{name}: {width}x{height} is left out, it would take about {expected:.0f} s", flush=True)
                break
            rows.append(measure(name, width, height, repeats if expected < limit / 10 else 1))
            print(f"{name}: {width}x{height} {rows[-1]}", flush=True)
    return found


def growth(rows: Sequence[Row], quantity: str) -> float:
    """Return the exponent of growth between the two largest sizes."""
    first, last = rows[-2:]
    return math.log(last[quantity] / first[quantity]) / math.log(last["tokens"] / first["tokens"])


def table(found: dict[str, list[Row]], sizes: Sequence[tuple[int, int]]) -> str:
    """Return seconds and MB at every size as a Markdown table; a dash where nothing was measured."""
    heads = " | ".join(f"{w}×{h}" for w, h in sizes)
    lines = [f"| quantizer | {heads} | growth of time (theory) | growth of memory |", "|---" * (len(sizes) + 3) + "|"]
    counts = " | ".join(f"{tokens(w, h):,}" for w, h in sizes)
    lines.append(f"| *features* | {counts} | | |")
    for name, rows in found.items():
        cells = [f"{row['seconds']:.2f} s, {row['mb']:,.0f} MB" for row in rows] + ["–"] * (len(sizes) - len(rows))
        theory = QUANTIZERS[name][1]
        cells += (
            [f"{growth(rows, 'seconds'):.2f} ({theory})", f"{growth(rows, 'mb'):.2f}"] if len(rows) > 1 else ["", ""]
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(path: Path, found: dict[str, list[Row]]) -> None:
    """Plot both against the number of features; every point is a measurement."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(13, 5))
    for axis, quantity, label in zip(
        axes, ("seconds", "mb"), ("CPU seconds, one thread", "added memory, MB"), strict=True
    ):
        for i, (name, rows) in enumerate(found.items()):
            style = {"marker": "os^Dv*xP"[i % 8], "linestyle": "-" if QUANTIZERS[name][1] == 1 else "--"}
            axis.plot([row["tokens"] for row in rows], [row[quantity] for row in rows], label=name, **style)
        axis.set(xscale="log", yscale="log", xlabel="features at f8 (129,600: 3840×2160)", ylabel=label)
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=8)
    figure.suptitle("One layer, forward pass, d 512, K 1024; dashed: quadratic in theory")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder for the picture and the table")
    parser.add_argument("--repeats", type=int, default=3, help="passes of which the median counts")
    parser.add_argument("--limit", type=float, default=60, help="longest expected pass, in seconds")
    parser.add_argument("--sizes", nargs="+", metavar="WxH", help="default: " + " ".join(f"{w}x{h}" for w, h in SIZES))
    parser.add_argument("--one", nargs=3, metavar=("NAME", "W", "H"), help="measure one in this process, print JSON")
    known = parser.parse_args(arguments)
    if known.one:
        name, width, height = known.one
        print(json.dumps(measure_here(name, int(width), int(height), known.repeats)))
        return
    sizes = [tuple(map(int, size.split("x"))) for size in known.sizes] if known.sizes else SIZES
    found = measure_all(sizes, known.repeats, known.limit)
    known.out.mkdir(parents=True, exist_ok=True)
    text = table(found, sizes)
    (known.out / "quantizer_scaling.md").write_text(text, encoding="utf-8")
    draw(known.out / "quantizer_scaling.png", found)
    print(f"\n{text}\nwritten to {known.out}: quantizer_scaling.md, quantizer_scaling.png")


if __name__ == "__main__":
    main()
