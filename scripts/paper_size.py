"""One command for the figures at paper size: a real training step of both stages, FLOPs, and the memory they take.

    python scripts/paper_size.py                      # CPU: batch 1, one step
    python scripts/paper_size.py --device cuda --steps 20 --batch1 16 --batch2 8

The steps are those of VQPriorModel and VQRestorationModel with every loss on, discriminator included. VGG19 gets random
weights, as time and memory do not depend on them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.models import vgg19

import vqcnir_arch  # noqa: F401  (registers everything)
from vqcnir_arch.archs import VQCNIR, VQGANPrior
from vqcnir_arch.devices import peak_memory, seconds
from vqcnir_arch.inspection.cost import multiply_adds
from vqcnir_arch.options import read_options
from vqcnir_arch.registry import MODEL_REGISTRY

ROOT = Path(__file__).resolve().parents[1]
CROP = 256


def write_stand_ins(folder: Path) -> None:
    """Write random weights in place of VGG19's and the prior's."""
    torch.save(vgg19(weights=None).features.state_dict(), folder / "vgg19.pth")
    torch.save({"params": VQGANPrior().state_dict()}, folder / "prior.pth")


def stage_model(option_file: str, folder: Path, device: str, **train: Any) -> Any:
    """Build the model of a paper-scale option file with weights that stand in for the missing ones.

    Args:
        option_file: below the repository's root.
        folder: where the stand-ins are.
        device: `cpu` or `cuda`.
        **train: options of `train:` that are other than in the file.
    """
    options = read_options(ROOT / option_file)
    options |= {"is_train": True, "dist": False, "rank": 0, "world_size": 1, "num_gpu": int(device == "cuda")}
    options["train"] |= train
    for block in ("perceptual_opt", "semantic_opt"):
        if block in options["train"]:
            options["train"][block]["weights"] = str(folder / "vgg19.pth")
    options["path"]["pretrain_network_d"] = None
    if "prior" in options["network_g"]:
        options["network_g"]["prior"] = str(folder / "prior.pth")
    return MODEL_REGISTRY.get(options["model_type"])(options)


def step_seconds(model: Any, images: Tensor, device: str, steps: int, warm_up: int = 1) -> list[float]:
    """Return the seconds of each step after those that warm up, on the same [2, B, 3, H, W] images."""
    taken = []
    for step in range(1, warm_up + steps + 1):
        model.feed_data({"lq": images[0] * 0.1, "gt": images[1]})
        taken.append(seconds(partial(model.optimize_parameters, step), torch.device(device)))
    return taken[warm_up:]


def measure(title: str, option_file: str, folder: Path, device: str, batch: int, steps: int) -> None:
    """Print median seconds per step and peak memory of one stage."""
    model = stage_model(option_file, folder, device)
    images = torch.rand(2, batch, 3, CROP, CROP, generator=torch.Generator().manual_seed(0))
    median = statistics.median(step_seconds(model, images, device, steps))
    print(
        f"{title}: batch {batch} of {CROP}x{CROP}, {median:.2f} s/step ({1 / median:.2f} steps/s, median of {steps}), "
        f"peak memory {peak_memory(torch.device(device)) / 1e9:.1f} GB, losses "
        + ", ".join(f"{k} {float(v):.3g}" for k, v in model.log_dict.items()),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--stage", default="both", choices=["1", "2", "both"], help="peak CPU memory is per process")
    parser.add_argument("--batch1", type=int, default=1, help="batch of stage I (the paper's setup: 16)")
    parser.add_argument("--batch2", type=int, default=1, help="batch of stage II (the paper: 8)")
    parser.add_argument("--steps", type=int, default=1)
    known = parser.parse_args()
    print(f"torch {torch.__version__}, {known.device}", torch.cuda.get_device_name() if known.device == "cuda" else "")

    with FakeTensorMode(), torch.no_grad():
        net, image = VQCNIR(), torch.rand(1, 3, 512, 512)
        gmacs = multiply_adds(lambda: net(image)) / 1e9
    parameters = sum(p.numel() for p in net.parameters())
    print(f"VQCNIR: {parameters:,} parameters, {gmacs:.1f} GMAC at 512x512 with its deformable convolutions")
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_stand_ins(folder)
        arguments = (folder, known.device)
        if known.stage != "2":
            measure("stage I", "options/prior/train_prior.yml", *arguments, known.batch1, known.steps)
        if known.stage != "1":
            measure("stage II", "options/vqcnir/train_vqcnir_lolblur.yml", *arguments, known.batch2, known.steps)


if __name__ == "__main__":
    main()
