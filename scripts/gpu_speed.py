"""One command for the speed switches at paper size: steps per second, peak memory, and whether bf16 trains as float32.

    python scripts/gpu_speed.py                                                # a GPU: batch 8 of 256x256, the paper's
    python scripts/gpu_speed.py --device cpu --batch 2 --size 32 --steps 1 --iterations 2 --variants float32 bf16

The steps are those of VQRestorationModel with every loss on, discriminator included; VGG19 and the prior get random
weights. Both precisions see the same images in the same order; their loss curves are compared as means over windows of
a tenth of the iterations. Ends with status 1 if bf16 leaves float32 by more than `--tolerance` in the pixel loss.

`--forward HEIGHT WIDTH` measures restoring instead: float32 as it is against bf16 with channels_last and torch.compile,
PSNR between the two results (peak = range of float32's), and the share of the matrix product's rate in bf16:

    python scripts/gpu_speed.py --forward 1120 640 --weights net_g.pth
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from paper_size import stage_model, step_seconds, write_stand_ins
from torch import Tensor

from vqcnir_arch.bench import measure
from vqcnir_arch.bench.subjects import Case, build_network, work_of
from vqcnir_arch.devices import peak_memory, seconds

OPTION_FILE = "options/vqcnir/train_vqcnir_lolblur.yml"
VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bf16": {"amp": "bf16"},
    "bf16+channels_last": {"amp": "bf16", "channels_last": True},
    "bf16+channels_last+compile": {"amp": "bf16", "channels_last": True, "compile": True},
    "bf16+checkpoint_blocks": {"amp": "bf16", "checkpoint_blocks": True},
}
WARM_UP = 5
"""Steps before the clock: cuDNN chooses its algorithms, torch.compile compiles."""


def night_pair(batch: int, size: int, seed: int) -> dict[str, Tensor]:
    """Draw smooth random images and dark, noisy versions of them; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, size // 8, size // 8, generator=generator)
    gt = F.interpolate(coarse, scale_factor=8, mode="bilinear")
    lq = (0.15 * gt + 0.02 * torch.randn(gt.shape, generator=generator)).clamp(0, 1)
    return {"lq": lq, "gt": gt}


def fresh_model(folder: Path, device: str, switches: dict[str, Any]) -> Any:
    """Build the model with the same first weights every time."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    torch.manual_seed(0)
    return stage_model(OPTION_FILE, folder, device, **switches)


def time_variant(name: str, folder: Path, known: argparse.Namespace) -> None:
    """Print one row: median steps per second and peak memory."""
    model = fresh_model(folder, known.device, VARIANTS[name])
    data = night_pair(known.batch, known.size, 0)
    images = torch.stack((data["lq"], data["gt"]))
    warm_up = WARM_UP if known.device == "cuda" else 1
    median = statistics.median(step_seconds(model, images, known.device, known.steps, warm_up))
    memory = peak_memory(torch.device(known.device)) / 1e9
    print(f"| {name} | {1 / median:.2f} | {median:.3f} | {memory:.1f} |", flush=True)


def loss_curve(name: str, folder: Path, known: argparse.Namespace) -> dict[str, list[float]]:
    """Train and return the losses of every iteration."""
    model = fresh_model(folder, known.device, VARIANTS[name])
    curve: dict[str, list[Tensor]] = {}
    for iteration in range(1, known.iterations + 1):
        model.feed_data(night_pair(known.batch, known.size, iteration))
        model.optimize_parameters(iteration)
        for loss, value in model.log_dict.items():
            curve.setdefault(loss, []).append(value)
    return {loss: torch.stack(values).float().cpu().tolist() for loss, values in curve.items()}


def window_means(values: Sequence[float], count: int = 10) -> Tensor:
    """Return the means over at most `count` windows of equal length."""
    width = max(1, len(values) // count)
    return torch.tensor(values[: len(values) // width * width]).view(-1, width).mean(1)


def compare_curves(folder: Path, known: argparse.Namespace) -> bool:
    """Print how far bf16's losses are from float32's; return whether the pixel loss stays within the tolerance."""
    reference, other = (loss_curve(name, folder, known) for name in ("float32", "bf16"))
    print(f"\nbf16 against float32 over {known.iterations} iterations, windows of {max(1, known.iterations // 10)}")
    print("| loss | float32 first, last window | bf16 first, last window | largest relative difference |")
    print("|---|---|---|---|")
    largest = {}
    for loss, values in reference.items():
        a, b = window_means(values), window_means(other[loss])
        largest[loss] = ((a - b).abs() / a.abs().clamp_min(1e-8)).max().item()
        print(f"| {loss} | {a[0]:.4g}, {a[-1]:.4g} | {b[0]:.4g}, {b[-1]:.4g} | {100 * largest[loss]:.2f} % |")
    follows = largest["l_pix"] <= known.tolerance
    print(f"bf16 {'follows' if follows else 'does not follow'} float32 (l_pix within {100 * known.tolerance:g} %)")
    return follows


def forward_speed(known: argparse.Namespace) -> None:
    """Print images per second of restoring in float32 and in bf16, channels_last and compiled, at batch 1 and more."""
    device, size = torch.device(known.device), tuple(known.forward)
    name = known.weights or "VQCNIR"
    product = measure.matmul_work(torch.bfloat16, device)
    peak = measure.MATMUL_SIZE[device.type] ** 3 / min(seconds(product, device) for _ in range(WARM_UP))
    columns = (
        "forward",
        "batch",
        "images/s",
        "times as fast",
        "peak GB",
        "PSNR, dB",
        "codes that differ",
        "of bf16 peak",
    )
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for batch in known.forward_batch:
        case = Case(name, size, batch, "bf16-all")
        net = build_network(name, device)
        macs = measure.work_size(case, net)
        image = measure.night_image(case).to(device)
        codes, psnr = measure.agreement(net, image, case.precision)
        rows = {"float32": median_seconds(work_of(Case(name, size, batch), net, image), known)}
        net = net.to(memory_format=torch.channels_last)
        net.compile(backend=known.compile_backend)
        image = image.to(memory_format=torch.channels_last)
        rows["bf16+channels_last+compile"] = median_seconds(work_of(case, net, image), known)
        for row, (median, memory) in rows.items():
            share = f"{psnr:.1f} | {100 * codes:.2f} % | {100 * macs / median / peak:.0f} %" if "bf16" in row else "| |"
            times = rows["float32"][0] / median
            print(f"| {row} | {batch} | {batch / median:.2f} | {times:.2f} | {memory:.1f} | {share} |", flush=True)


def median_seconds(work: Callable[[], Any], known: argparse.Namespace) -> tuple[float, float]:
    """Return the median seconds of some calls after those that warm up, and the peak memory in GB."""
    device = torch.device(known.device)
    if known.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(WARM_UP if known.device == "cuda" else 1):
        seconds(work, device)
    taken = [seconds(work, device) for _ in range(known.steps)]
    return statistics.median(taken), peak_memory(device) / 1e9


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=256, help="height and width of the crops")
    parser.add_argument("--steps", type=int, default=30, help="steps on the clock per variant")
    parser.add_argument("--iterations", type=int, default=500, help="length of the loss curves, 0 for none")
    parser.add_argument("--tolerance", type=float, default=0.05)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--forward", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="measure restoring instead")
    parser.add_argument("--forward-batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--weights", help="checkpoint to restore with (default: random weights)")
    parser.add_argument("--compile-backend", default="inductor")
    known = parser.parse_args(arguments)
    name = torch.cuda.get_device_name() if known.device == "cuda" else "CPU"
    if known.forward:
        print(f"torch {torch.__version__}, {name}, {known.forward[0]}x{known.forward[1]}")
        forward_speed(known)
        return 0
    print(f"torch {torch.__version__}, {name}, batch {known.batch} of {known.size}x{known.size}")
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        write_stand_ins(Path(folder))
        print("| train: | steps/s | s/step (median) | peak GB |\n|---|---|---|---|")
        for variant in known.variants:
            time_variant(variant, Path(folder), known)
        return 0 if not known.iterations or compare_curves(Path(folder), known) else 1


if __name__ == "__main__":
    sys.exit(main())
