"""Compare `vqcnir inspect`'s estimate of a training step's memory with what the process then takes, on the CPU.

    python scripts/memory_ratio.py

Each network is trained for three steps in a process of its own, by its model; VGG19 and the prior get random weights.
Measured is the peak of the resident memory above that before the model was built, after a first model has had a step on
one small image: libraries that are loaded at their first use do not count.
"""

from __future__ import annotations

import argparse
import copy
import gc
import multiprocessing
import resource
import tempfile
from pathlib import Path
from typing import Any

import torch
from torchvision.models import vgg19

import vqcnir_arch  # noqa: F401  (registers everything)
from vqcnir_arch.archs import VQGANPrior
from vqcnir_arch.devices import peak_memory
from vqcnir_arch.inspection.cost import step_memory
from vqcnir_arch.options import read_options
from vqcnir_arch.registry import MODEL_REGISTRY

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"channels": [32, 64, 128, 128], "codebook_size": 256, "code_dim": 128}
FILES = {"stage I": "options/prior/train_prior.yml", "stage II": "options/vqcnir/train_vqcnir_lolblur.yml"}


def small_options(file: str, folder: Path, with_gan: bool) -> dict[str, Any]:
    """Return a paper-scale option file's content with a small network and stand-ins for the missing weights."""
    options = read_options(ROOT / file)
    options |= {"is_train": True, "dist": False, "rank": 0, "world_size": 1, "num_gpu": 0}
    options["network_g"] |= SIZES
    options["network_d"]["num_feat"] = 16
    options["path"]["pretrain_network_d"] = None
    for block in ("perceptual_opt", "semantic_opt"):
        if block in options["train"]:
            options["train"][block]["weights"] = str(folder / "vgg19.pth")
    if "prior" in options["network_g"]:
        options["network_g"] |= {"prior": str(folder / "prior.pth"), "enhancer": {"type": "AIEM", "depth": 4}}
    if not with_gan:
        for name in ("gan_opt", "perceptual_opt"):
            options["train"].pop(name)
    return options


def current() -> int:
    """Return the resident memory of this process now in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measured(options: dict[str, Any], crop: int, batch: int) -> int:
    """Return the bytes that three training steps took at their peak."""
    torch.manual_seed(0)
    train(options, 1, 32, 1)
    gc.collect()
    before = current()
    train(options, batch, crop, 3)
    return peak_memory() - before


def train(options: dict[str, Any], batch: int, crop: int, steps: int) -> None:
    """Build an option file's model and let it take steps on random images."""
    model = MODEL_REGISTRY.get(options["model_type"])(copy.deepcopy(options))
    for step in range(1, steps + 1):
        model.feed_data({name: torch.rand(batch, 3, crop, crop) for name in ("lq", "gt")})
        model.optimize_parameters(step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    known = parser.parse_args()
    print("| network | losses | weights | gradients | optimiser | activations | estimate, MB | measured, MB | ratio |")
    print("|" + "---|" * 9)
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(vgg19(weights=None).features.state_dict(), folder / "vgg19.pth")
        torch.save({"params": VQGANPrior(**SIZES).state_dict()}, folder / "prior.pth")
        for stage, file in FILES.items():
            for with_gan in (False, True):
                options = small_options(file, folder, with_gan)
                memory, _ = step_memory(options, known.crop, known.batch)
                with spawn.Pool(1) as pool:
                    taken = pool.apply(measured, (options, known.crop, known.batch))
                parts = (memory.weights, memory.gradients, memory.optimiser, memory.activations, memory.total, taken)
                losses = "all" if with_gan else "without GAN and perceptual"
                cells = " | ".join(f"{part / 1e6:.0f}" for part in parts)
                print(f"| {stage} | {losses} | {cells} | {memory.total / taken:.2f} |", flush=True)


if __name__ == "__main__":
    main()
